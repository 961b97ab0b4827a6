package chargeingest_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
)

const (
	eventPath  = "/v1/ingest/charge-data"
	eventsPath = "/v1/ingest/charge-datas"
)

// No log line and no response of any test may contain a secret.
const (
	fullSecret   = "secret-of-the-full-key"   // both permissions on pf_a, the default, and pf_b
	ingestSecret = "secret-of-the-ingest-key" // METER_DATA.INGEST only, on pf_a
	viewSecret   = "secret-of-the-view-key"   // METER_DATA.VIEW only, on pf_a
	otherSecret  = "secret-of-the-other-key"  // both permissions on pf_c
	wrongSecret  = "secret-of-an-unknown-key"
)

var receivedAt = time.Date(2026, 9, 1, 14, 0, 0, 987654321, time.FixedZone("", 2*60*60))

var inspected = flag.Bool("inspected", false, "test the contract behind the middleware of package inspector")

type fixture struct {
	handler servedHandler
	store   chargeingest.EventStore
	log     *logBuffer

	mu  sync.Mutex
	now time.Time
}

func newFixture(t *testing.T, settings ...func(*chargeingest.Config)) *fixture {
	t.Helper()
	f := &fixture{log: new(logBuffer), now: receivedAt}
	cfg := chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeySet(t), Now: f.clock,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, set := range settings {
		set(&cfg)
	}
	f.store = cfg.Store
	h, err := chargeingest.New(cfg)
	require.NoError(t, err)
	f.handler = servedHandler{h, h}
	if *inspected {
		i, err := inspector.New(inspector.Config{Reader: memstore.New(), Authorizer: cfg.Authorizer})
		require.NoError(t, err)
		f.handler.served = i.Middleware(h)
	}
	t.Cleanup(func() { requireNoSecret(t, f.log.text()) })
	return f
}

type servedHandler struct {
	*chargeingest.Handler
	served http.Handler // Handler, or middleware around it
}

func (h servedHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.served.ServeHTTP(w, r) }

func newKeySet(tb testing.TB) *chargeingest.Keys {
	tb.Helper()
	const ingest, view = chargeingest.PermissionIngest, chargeingest.PermissionView
	key := func(secret string, platforms []string, permissions ...chargeingest.Permission) chargeingest.Key {
		return chargeingest.Key{Secret: secret, Subject: "test", Platforms: platforms, Permissions: permissions}
	}
	keys, err := chargeingest.NewKeys(
		key(fullSecret, []string{"pf_a", "pf_b"}, ingest, view),
		key(ingestSecret, []string{"pf_a"}, ingest),
		key(viewSecret, []string{"pf_a"}, view),
		key(otherSecret, []string{"pf_c"}, ingest, view),
	)
	require.NoError(tb, err)
	return keys
}

func withStore(store chargeingest.EventStore) func(*chargeingest.Config) {
	return func(c *chargeingest.Config) { c.Store = store }
}

func withAuthorizer(a chargeingest.Authorizer) func(*chargeingest.Config) {
	return func(c *chargeingest.Config) { c.Authorizer = a }
}

func keepUnknown(c *chargeingest.Config) { c.KeepUnknownFields = true }

func returnOriginal(c *chargeingest.Config) { c.Duplicates = chargeingest.ReturnOriginal }

func withAppendError(err error) func(*chargeingest.Config) {
	return withStore(&readableStore{
		Store: memstore.New(),
		append: func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			return chargeingest.AppendResult{}, err
		},
	})
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fixture) serve(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	return srv
}

// request has the full key. A header "Name: value" replaces a default, and "-Name"
// removes it.
func request(method, target string, body io.Reader, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, body)
	r.Header.Set("X-API-KEY", fullSecret)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	seen := make(map[string]bool)
	for _, h := range headers {
		if name, ok := strings.CutPrefix(h, "-"); ok {
			r.Header.Del(name)
			continue
		}
		name, value, _ := strings.Cut(h, ": ")
		if !seen[name] {
			r.Header.Del(name)
		}
		seen[name] = true
		r.Header.Add(name, value)
	}
	return r
}

func (f *fixture) post(t *testing.T, path, body string, headers ...string) response {
	t.Helper()
	return responseOf(t, f.handler, request(http.MethodPost, path, strings.NewReader(body), headers...))
}

func (f *fixture) get(t *testing.T, path string, headers ...string) response {
	t.Helper()
	return responseOf(t, f.handler, request(http.MethodGet, path, nil, headers...))
}

func (f *fixture) send(t *testing.T, method, path, body, id string, headers ...string) response {
	t.Helper()
	path = strings.ReplaceAll(path, "{id}", id)
	if body == "" {
		return responseOf(t, f.handler, request(method, path, nil, headers...))
	}
	return responseOf(t, f.handler, request(method, path, strings.NewReader(body), headers...))
}

func (f *fixture) list(t *testing.T, platform string) []any {
	t.Helper()
	secret := fullSecret
	if platform == "pf_c" {
		secret = otherSecret
	}
	resp := f.get(t, eventPath+"?order=asc&limit=1000", "X-API-KEY: "+secret, "x-platform-id: "+platform)
	require.Equal(t, http.StatusOK, resp.status, resp.text)
	return resp.body["data"].([]any)
}

func (f *fixture) requireNothingStored(t *testing.T) {
	t.Helper()
	for _, platform := range []string{"pf_a", "pf_b", "pf_c"} {
		require.Empty(t, f.list(t, platform), "events are stored on %s", platform)
	}
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type unreadBody struct{ t *testing.T }

func (b unreadBody) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, io.EOF
}
