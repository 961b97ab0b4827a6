//go:build prometheus && linux

package prometheus_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type prometheus struct{ address string }

func startPrometheus(t *testing.T, server string) prometheus {
	t.Helper()
	dir := t.TempDir()
	path, err := filepath.Abs(rules)
	require.NoError(t, err)
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs: [{job_name: chargeingest, static_configs: [{targets: [%q]}]}]
`, path, server), 0o600))
	return prometheus{start(t, `(?s)msg="Listening on" address=(\S+).*Server is ready`, exec.Command("prometheus", "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0"))[1]}
}

func (p prometheus) get(t *testing.T, path string, data any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.address+"/api/v1/"+path, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var body struct {
		Status, Error string
		Data          json.RawMessage
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	require.Equal(t, "success", body.Status, "%s: %s", path, body.Error)
	require.NoError(t, json.Unmarshal(body.Data, data))
}

func (p prometheus) hasData(t *testing.T, query string) bool {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.get(t, "query?query="+url.QueryEscape(query), &data)
	for _, r := range data.Result {
		if r.Value[1] != "NaN" {
			return true
		}
	}
	return false
}

func (p prometheus) awaitData(t *testing.T, query string, sendMore func()) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !p.hasData(t, query) {
		require.True(t, time.Now().Before(deadline), "no data: %s", query)
		sendMore()
	}
}

var (
	quoted     = regexp.MustCompile(`"[^"]*"`)
	selectors  = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	groups     = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	identifier = regexp.MustCompile(`\b[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
)

func metricNames(query string) (names []string) {
	for _, r := range []*regexp.Regexp{quoted, selectors, groups} {
		query = r.ReplaceAllString(query, "")
	}
	for _, word := range identifier.FindAllString(query, -1) {
		switch {
		case strings.HasSuffix(word, "("), word == "and", word == "or", word == "unless", word == "offset", word == "bool":
		default:
			names = append(names, word)
		}
	}
	return names
}

func TestMetricNames(t *testing.T) {
	require.Equal(t, []string{"a_total", "b", "c:d"},
		metricNames(`sum by (x, y) (rate(a_total{z="w{"}[5m])) / on (x) group_left (v) b > 1e9 and c:d offset 5m or vector(0)`))
}
