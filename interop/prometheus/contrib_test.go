//go:build prometheus && linux

package prometheus_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAlertRules(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", rules}, {"test", "rules", ruleTests}} {
		output, err := exec.Command("promtool", args...).CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
}

type rule struct {
	Name, Query, Health, LastError string
	Labels, Annotations            map[string]string
	Alerts                         []struct{ State string }
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ Type, UID string }
	Targets    []struct{ Expr string }
}

type template struct{ Name, Type, Definition string }

func readDashboard(t *testing.T) (panels []panel, variables []template) {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	require.NoError(t, err)
	var d struct {
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []template }
	}
	require.NoError(t, json.Unmarshal(text, &d))
	require.Equal(t, 39, d.SchemaVersion)
	seen := make(map[int]bool)
	for _, p := range d.Panels {
		require.NotEmpty(t, p.Title)
		require.False(t, seen[p.ID], "panel id %d", p.ID)
		seen[p.ID] = true
		if p.Type != "row" {
			require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
			require.NotEmpty(t, p.Targets, p.Title)
		}
	}
	return d.Panels, d.Templating.List
}

func TestQueries(t *testing.T) {
	server, metrics := startServer(t)
	rounds := 0
	sendMore := func() {
		rounds++
		sendEach(t, server, rounds)
	}
	sendMore()
	p := startPrometheus(t, metrics)
	p.awaitData(t, `chargeingest_prune_last_success_timestamp_seconds`, sendMore)

	var exposed []string
	p.get(t, "label/__name__/values", &exposed)
	requireExposed := func(t *testing.T, query string) {
		t.Helper()
		names := metricNames(query)
		require.NotEmpty(t, names, query)
		for _, name := range names {
			require.Contains(t, exposed, name, query)
		}
	}
	t.Run("alert rules", func(t *testing.T) {
		found := loadedRules(t, p, sendMore)
		tests, err := os.ReadFile(ruleTests)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(found), 24)
		for _, r := range found {
			require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
			requireExposed(t, r.Query)
			for _, name := range []string{"summary", "description", "action"} {
				require.NotEmpty(t, r.Annotations[name], "%s: %s", r.Name, name)
			}
			require.Regexp(t, "^(critical|warning)$", r.Labels["severity"], r.Name)
			require.Contains(t, string(tests), r.Name, "has no test")
			for _, a := range r.Alerts {
				require.NotEqual(t, "firing", a.State, r.Name)
			}
		}
	})
	t.Run("dashboard", func(t *testing.T) {
		panels, variables := readDashboard(t)
		count := 0
		for _, panel := range panels {
			for _, target := range panel.Targets {
				count++
				requireExposed(t, target.Expr)
				query := strings.NewReplacer("$__rate_interval", "10s", "$job", ".*", "$instance", ".*").Replace(target.Expr)
				require.NotContains(t, query, "$", panel.Title)
				p.awaitData(t, query, sendMore)
			}
		}
		require.GreaterOrEqual(t, count, 38)
		metric := regexp.MustCompile(`^label_values\((\w+)`)
		for _, v := range variables {
			if v.Type == "query" {
				require.Contains(t, exposed, metric.FindStringSubmatch(v.Definition)[1])
			}
		}
	})
	t.Logf("%d rounds of requests", rounds)
}

// loadedRules waits for the first evaluation.
func loadedRules(t *testing.T, p prometheus, sendMore func()) (found []rule) {
	t.Helper()
	for {
		var data struct {
			Groups []struct{ Rules []rule }
		}
		p.get(t, "rules", &data)
		found = nil
		unknown := false
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				found = append(found, r)
				unknown = unknown || r.Health == "unknown"
			}
		}
		if !unknown {
			return found
		}
		sendMore()
	}
}
