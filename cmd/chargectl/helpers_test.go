package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/memstore"
)

const asProgram = "CHARGEINGEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(newProgram().run(cli.UntilSignal(), os.Args[1:]))
	}
	status := m.Run()
	removeServerProgram()
	os.Exit(status)
}

// testProgram has a clock that only its pauses advance.
type testProgram struct {
	*program
	out, log *bytes.Buffer
	env      map[string]string
	clock    time.Time
	pauses   []time.Duration
}

func newTestProgram() *testProgram {
	tp := &testProgram{
		program: newProgram(), out: new(bytes.Buffer), log: new(bytes.Buffer),
		env: make(map[string]string), clock: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC),
	}
	tp.stdout, tp.stderr = tp.out, tp.log
	tp.lookupEnv = func(name string) (string, bool) {
		value, ok := tp.env[name]
		return value, ok
	}
	tp.isTerminal = func(io.Writer) bool { return false }
	tp.now = func() time.Time { return tp.clock }
	tp.sleep = func(ctx context.Context, d time.Duration) error {
		tp.clock = tp.clock.Add(d)
		tp.pauses = append(tp.pauses, d)
		return ctx.Err()
	}
	return tp
}

func (tp *testProgram) runLoad(ctx context.Context, url, file string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"load", file, "-url", url, "-api-key", apiKey, "-batch", "10"}, args))
}

func (tp *testProgram) runTail(ctx context.Context, url string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"tail", "-url", url, "-api-key", apiKey}, args))
}

const apiKey = "test-key"

type testServer struct {
	url     string
	handler http.Handler
}

func startServer(t *testing.T, settings ...func(*chargeingest.Config)) *testServer {
	t.Helper()
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: apiKey, Subject: "test", Platforms: []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	require.NoError(t, err)
	cfg := chargeingest.Config{Store: memstore.New(), Authorizer: keys, Logger: slog.New(slog.DiscardHandler)}
	for _, set := range settings {
		set(&cfg)
	}
	h, err := chargeingest.New(cfg)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return &testServer{url: srv.URL, handler: h}
}

func keepUnknownFields(cfg *chargeingest.Config) { cfg.KeepUnknownFields = true }

func (s *testServer) send(t *testing.T, method, path, body string) (status int, text string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Api-Key", apiKey)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func (s *testServer) store(t *testing.T, first, last int) {
	t.Helper()
	status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-datas",
		`{"charge_datas":[`+strings.Join(eventLines(last)[first-1:], ",")+`]}`)
	require.Equal(t, http.StatusCreated, status, body)
}

func (s *testServer) events(t *testing.T) []string {
	t.Helper()
	status, body := s.send(t, http.MethodGet, "/v1/ingest/charge-data?order=asc&limit=1000", "")
	require.Equal(t, http.StatusOK, status, body)
	var page struct {
		Data []json.RawMessage `json:"data"`
		Next *string           `json:"next"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	require.Nil(t, page.Next, "more than one page")
	var events []string
	for _, e := range page.Data {
		events = append(events, string(e))
	}
	return events
}

var discardLog = log.New(io.Discard, "", 0)

func proxyTo(t *testing.T, s *testServer, handle func(n int64, forward http.Handler, w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	target, err := url.Parse(s.url)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = discardLog
	var n atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handle(n.Add(1), forward, w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

func loseResponse(forward http.Handler, r *http.Request) {
	forward.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// eventLine omits the reference of the events 4, 14, 24 and so on.
func eventLine(n int) string {
	reference := fmt.Sprintf(`"ref-%d"`, n)
	if n%10 == 4 {
		reference = "null"
	}
	return fmt.Sprintf(`{"product_item_id":"proi_%d","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",`+
		`"reference":%s,"value":{"number":"%d.50"},"timestamp":"2026-09-01T09:00:29+09:00"}`, n, reference, n)
}

func eventLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = eventLine(i + 1)
	}
	return lines
}

func eventNumbers(events []string) []string {
	var list []string
	for _, e := range events {
		_, rest, _ := strings.Cut(e, `"proi_`)
		n, _, _ := strings.Cut(rest, `"`)
		list = append(list, n)
	}
	return list
}

func writeEvents(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600))
	return path
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
