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
	removeServer()
	os.Exit(status)
}

type testProgram struct {
	*program
	out, log *bytes.Buffer
	env      map[string]string
}

func newTestProgram() *testProgram {
	tp := &testProgram{program: newProgram(), out: new(bytes.Buffer), log: new(bytes.Buffer), env: make(map[string]string)}
	tp.stdin, tp.stdout, tp.stderr = strings.NewReader(""), tp.out, tp.log
	tp.lookupEnv = func(name string) (string, bool) {
		value, ok := tp.env[name]
		return value, ok
	}
	tp.isTerminal = func(io.Writer) bool { return false }
	return tp
}

// newOfflineProgram needs no network, for synctest.
func newOfflineProgram(server http.Handler) *testProgram {
	tp := newTestProgram()
	tp.transport = handlerTransport{server}
	return tp
}

type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (res *http.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			res, err = nil, fmt.Errorf("connection closed: %v", v)
		}
	}()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (tp *testProgram) runLoad(ctx context.Context, url, file string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"load", file, "-url", url, "-api-key", apiKey, "-batch", "10"}, args))
}

func (tp *testProgram) runTail(ctx context.Context, url string, args ...string) int {
	return tp.run(ctx, slices.Concat([]string{"tail", "-url", url, "-api-key", apiKey}, args))
}

const offline = "http://server"

const apiKey = "test-key"

type testServer struct {
	http.Handler
	url string
}

func startServer(t *testing.T, settings ...func(*chargeingest.Config)) *testServer {
	t.Helper()
	s := newServer(t, settings...)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func newServer(t *testing.T, settings ...func(*chargeingest.Config)) *testServer {
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
	return &testServer{Handler: h, url: offline}
}

func keepUnknownFields(cfg *chargeingest.Config) { cfg.KeepUnknownFields = true }

func (s *testServer) send(t *testing.T, method, path, body string) (status int, text string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-Api-Key", apiKey)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func (s *testServer) store(t *testing.T, first, last int) {
	t.Helper()
	s.storeJSON(t, eventLines(last)[first-1:]...)
}

func (s *testServer) storeJSON(t *testing.T, events ...string) {
	t.Helper()
	for batch := range slices.Chunk(events, 1000) {
		status, body := s.send(t, http.MethodPost, "/v1/ingest/charge-datas", `{"charge_datas":[`+strings.Join(batch, ",")+`]}`)
		require.Equal(t, http.StatusCreated, status, body)
	}
}

func (s *testServer) events(t *testing.T) []string {
	t.Helper()
	var events []string
	for after := ""; ; {
		status, body := s.send(t, http.MethodGet, "/v1/ingest/charge-data?order=asc&limit=1000"+after, "")
		require.Equal(t, http.StatusOK, status, body)
		var page struct {
			Data []json.RawMessage `json:"data"`
			Next *string           `json:"next"`
		}
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		for _, e := range page.Data {
			events = append(events, string(e))
		}
		if page.Next == nil {
			return events
		}
		after = "&after=" + *page.Next
	}
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

func (s *testServer) intercept(handle func(n int64, w http.ResponseWriter, r *http.Request)) http.Handler {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(n.Add(1), w, r) })
}

func (s *testServer) loseResponse(r *http.Request) {
	s.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

func eventLine(n int) string {
	if n%10 == 4 {
		return unreferencedLine(n)
	}
	return strings.Replace(unreferencedLine(n), "null", fmt.Sprintf(`"ref-%d"`, n), 1)
}

func unreferencedLine(n int) string {
	return fmt.Sprintf(`{"product_item_id":"proi_%d","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",`+
		`"reference":null,"value":{"number":"%d.50"},"timestamp":"2026-09-01T09:00:29+09:00"}`, n, n)
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
