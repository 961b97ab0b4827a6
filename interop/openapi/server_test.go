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

// maxBody is the server's limit of a body.
const maxBody = 64 << 10

// server is the example server, listening on loopback.
var server struct {
	url      string
	keyOf    map[string]string // by platform
	viewOnly string            // an API key that cannot ingest
	token    string            // a token that the server cannot verify now
}

func TestMain(m *testing.M) {
	code, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// withServer builds and starts the example server, runs the tests and stops it.
// Each client has a platform of its own, so that its listings hold its events.
func withServer(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "openapi")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "server"), ".")
	build.Dir = filepath.Join("..", "..", "example")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the example server: %w\n%s", err, out)
	}

	both := []string{"METER_DATA.INGEST", "METER_DATA.VIEW"}
	server.viewOnly = "a-key-that-reads-0123456789abcdef"
	keys := []any{map[string]any{"key": server.viewOnly, "subject": "reader", "platforms": []string{"reader"}, "permissions": both[1:]}}
	server.keyOf = make(map[string]string)
	for _, platform := range []string{"oapi-codegen", "ogen", "openapi-typescript"} {
		key := "a-key-of-" + platform + "-0123456789abcdef"
		server.keyOf[platform] = key
		keys = append(keys, map[string]any{"key": key, "subject": platform, "platforms": []string{platform}, "permissions": both})
	}
	text, err := json.Marshal(keys)
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), text, 0o600); err != nil {
		return 1, err
	}
	// Without its keys a token can be neither accepted nor refused.
	noKeys := httptest.NewServer(http.NotFoundHandler())
	defer noKeys.Close()
	part := base64.RawURLEncoding.EncodeToString
	server.token = part([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + part([]byte(`{"aud":"charges"}`)) + "." + part([]byte("signature"))

	cmd := exec.Command("./server", "-addr", "127.0.0.1:0", "-keys", "keys.json", "-max-body", fmt.Sprint(maxBody),
		"-jwks-url", noKeys.URL, "-jwt-audience", "charges")
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && server.url == "" {
		server.url, _ = strings.CutPrefix(lines.Text(), "listening on ")
	}
	code := 1
	if server.url != "" {
		code = run()
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		return 1, fmt.Errorf("the example server: %w\n%s", err, &log)
	}
	return code, nil
}

// as reads JSON as a generated type.
func as[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v
}

// again is a stored event, to be sent as it was read.
func again[T any](t *testing.T, stored any) T {
	t.Helper()
	text, err := json.Marshal(stored)
	require.NoError(t, err)
	return as[T](t, string(text))
}

const (
	// lowerCase is a valid time that RFC 3339 parsers of many languages refuse.
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
)

// tooLarge is an event that is larger than the server's limit.
var tooLarge = `{` + ids + `,"id":"` + strings.Repeat("x", maxBody) + `"}`
