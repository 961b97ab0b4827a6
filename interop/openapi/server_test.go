package openapi_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	apiKey  = "a-key-for-everything-0123456789abcdef"
	viewKey = "a-key-that-cannot-ingest-0123456789abcdef"
	maxBody = 64 << 10
)

// token cannot be verified, because the JWKS is not available.
var token = strings.Join([]string{encoded(`{"alg":"RS256","kid":"1","typ":"JWT"}`), encoded(`{"aud":"charges"}`), encoded("signature")}, ".")

func encoded(part string) string { return base64.RawURLEncoding.EncodeToString([]byte(part)) }

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "openapi")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "server")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = filepath.Join("..", "..", "example")
	code := 1
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the example server: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func startServer(t *testing.T, args ...string) (url string) {
	t.Helper()
	noKeys := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(noKeys.Close)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys.json"), fmt.Appendf(nil, `[
		{"key":%q,"subject":"writer","platforms":["p"],"permissions":["METER_DATA.INGEST","METER_DATA.VIEW"]},
		{"key":%q,"subject":"reader","platforms":["p"],"permissions":["METER_DATA.VIEW"]}]`, apiKey, viewKey), 0o600))

	cmd := exec.Command(program, append(args, "-addr", "127.0.0.1:0", "-keys", "keys.json", "-max-body", fmt.Sprint(maxBody),
		"-jwks-url", noKeys.URL, "-jwt-audience", "charges")...)
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, cmd.Wait(), &log)
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if url, found := strings.CutPrefix(lines.Text(), "listening on "); found {
			return url
		}
	}
	require.Fail(t, "the example server ended before listening")
	return ""
}

func as[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v
}

func again[T any](t *testing.T, stored any) T {
	t.Helper()
	text, err := json.Marshal(stored)
	require.NoError(t, err)
	return as[T](t, string(text))
}

const (
	lowerCase = "2026-09-01t09:00:29.50z"

	ids   = `"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1"`
	event = `{` + ids + `,"reference":"one","customer_reference":null,"timestamp":"` + lowerCase + `",
		"value":{"number":"-12.50","amount":{"quantity":"00012345678901234567890123456789012.50","currency":"EUR"},"count":null},
		"period":{"start_at":"2026-08-01T00:00:00+00:00","end_at":"2026-09-01t00:00:00z"},
		"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"}],"rules":[],"fallback":"NONE"}}`
	changed   = `{` + ids + `,"reference":"one","value":{"number":"13"}}`
	invalid   = `{` + ids + `,"value":{"number":"1e3"},"timestamp":"2026-02-30T00:00:00Z"}`
	batch     = `{"charge_datas":[` + event + `,{` + ids + `},{` + ids + `,"reference":"two"}]}`
	unknownID = "chda_00000000000000000000000000"

	unknown = `{` + ids + `,"new":1,"value":{"new":[null],"amount":{"quantity":"1","currency":"EUR","new":{}}},"period":{"new":true},
		"pricing_plan_subscription_selector":{"new":"a","data":[{"field":"PRICING_PLAN_REFERENCE","new":1}],
		"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"IN","new":1}],"filters":[{"field":"PRICING_PLAN_REFERENCE","type":"IN","new":1}]}}`
)

func keepingServer(t *testing.T) (url string) {
	t.Helper()
	url = startServer(t, "-unknown-fields", "keep")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/ingest/charge-data", strings.NewReader(unknown))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-KEY", apiKey)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusCreated, response.StatusCode)
	return url
}

var tooLarge = `{` + ids + `,"id":"` + strings.Repeat("x", maxBody) + `"}`
