package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	"example.com/chargeingest/memstore"
)

// The files contract_*_test.go hold the handler to the wire contract, one file
// for each of its sections, one test or case for each of its rules.

// The paths of the routed form.
const (
	eventPath  = "/v1/ingest/charge-data"
	eventsPath = "/v1/ingest/charge-datas"
)

// The credentials of the fixture's keys. No log line and no response of any test
// may hold one of them.
const (
	fullSecret   = "secret-of-the-full-key"   // both permissions on pf_a, the default, and pf_b
	ingestSecret = "secret-of-the-ingest-key" // METER_DATA.INGEST alone, on pf_a
	viewSecret   = "secret-of-the-view-key"   // METER_DATA.VIEW alone, on pf_a
	otherSecret  = "secret-of-the-other-key"  // both permissions on pf_c
	wrongSecret  = "secret-of-nobodys-key"    // verifies nowhere
)

// receipt is what the fixture's clock shows at first: a time with a fraction of
// a second, in a zone that is not UTC.
var receipt = time.Date(2026, 9, 1, 14, 0, 0, 987654321, time.FixedZone("", 2*60*60))

// fixture is a handler over a store, with a clock that stands still and a log
// that is kept.
type fixture struct {
	handler *chargeingest.Handler
	store   chargeingest.EventStore
	log     *keptLog

	mu  sync.Mutex
	now time.Time
}

// newFixture makes a fixture over a memstore, unless a setting says otherwise.
func newFixture(t *testing.T, settings ...func(*chargeingest.Config)) *fixture {
	t.Helper()
	f := &fixture{log: new(keptLog), now: receipt}
	cfg := chargeingest.Config{
		Store: memstore.New(), Authorizer: newKeySet(t), Now: f.clock,
		Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, set := range settings {
		set(&cfg)
	}
	f.store = cfg.Store
	var err error
	f.handler, err = chargeingest.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { requireNoSecret(t, f.log.text()) })
	return f
}

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

// over is the setting of another store.
func over(store chargeingest.EventStore) func(*chargeingest.Config) {
	return func(c *chargeingest.Config) { c.Store = store }
}

// authorizedBy is the setting of another authorizer.
func authorizedBy(a chargeingest.Authorizer) func(*chargeingest.Config) {
	return func(c *chargeingest.Config) { c.Authorizer = a }
}

// keepUnknown is the setting that takes members beyond the contract's.
func keepUnknown(c *chargeingest.Config) { c.KeepUnknownFields = true }

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

// serve starts a server on loopback for what only a real connection shows.
func (f *fixture) serve(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	return srv
}

// request makes a request with the full key and the media type of JSON. Headers
// are "Name: value": the first of a name takes the place of the default, more
// of them are sent beside it; "-Name" leaves a default out.
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

// list returns the events that GET responses on a platform, first stored first.
func (f *fixture) list(t *testing.T, platform string) []any {
	t.Helper()
	secret := fullSecret
	if platform == "pf_c" {
		secret = otherSecret
	}
	a := f.get(t, eventPath+"?order=asc&limit=1000", "X-API-KEY: "+secret, "x-platform-id: "+platform)
	require.Equal(t, http.StatusOK, a.status, a.text)
	return a.body["data"].([]any)
}

// requireNothingStored says so of every platform.
func (f *fixture) requireNothingStored(t *testing.T) {
	t.Helper()
	for _, platform := range []string{"pf_a", "pf_b", "pf_c"} {
		require.Empty(t, f.list(t, platform), "something is stored on %s", platform)
	}
}

// response is a response of the handler.
type response struct {
	status int
	header http.Header
	text   string
	body   map[string]any // numbers are json.Number
}

// responseOf sends a request and holds the response to what is true of all of them.
func responseOf(t *testing.T, h http.Handler, r *http.Request) response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return checkedResponse(t, r, w)
}

// responsesOf sends n requests at once.
func responsesOf(t *testing.T, h http.Handler, n int, request func(i int) *http.Request) []response {
	t.Helper()
	requests, recorders := make([]*http.Request, n), make([]*httptest.ResponseRecorder, n)
	var sending sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		requests[i], recorders[i] = request(i), httptest.NewRecorder()
		sending.Go(func() {
			<-start
			h.ServeHTTP(recorders[i], requests[i])
		})
	}
	close(start)
	sending.Wait()
	responses := make([]response, n)
	for i := range n {
		responses[i] = checkedResponse(t, requests[i], recorders[i])
	}
	return responses
}

func checkedResponse(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) response {
	t.Helper()
	a := response{status: w.Code, header: w.Header(), text: w.Body.String()}
	require.NotEmpty(t, a.header.Get("X-Request-Id"))
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	requireNoSecret(t, a.text)
	if r.Method != http.MethodHead {
		dec := json.NewDecoder(strings.NewReader(a.text))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&a.body), a.text)
	}
	return a
}

func requireNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{fullSecret, ingestSecret, viewSecret, otherSecret, wrongSecret} {
		require.NotContains(t, text, secret)
	}
}

// requireStored says that a request was a success for the first time, and
// returns its event.
func (a response) requireStored(t *testing.T) map[string]any {
	t.Helper()
	require.Equal(t, http.StatusCreated, a.status, a.text)
	require.Empty(t, a.header.Values("Idempotent-Replayed"))
	return a.body
}

// requireReplayOf says that a request was answered as an earlier one was.
func (a response) requireReplayOf(t *testing.T, first response) {
	t.Helper()
	require.Equal(t, http.StatusCreated, a.status, a.text)
	require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.text, a.text)
}

// events returns the events of a batch's response.
func (a response) events(t *testing.T) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusCreated, a.status, a.text)
	var events []map[string]any
	for _, e := range a.body["charge_datas"].([]any) {
		events = append(events, e.(map[string]any))
	}
	return events
}

// violation is an entry of the errors of a response.
type violation struct{ code, field string }

// violations returns the entries of errors.
func (a response) violations(t *testing.T) []violation {
	t.Helper()
	list, _ := a.body["errors"].([]any)
	found := make([]violation, len(list))
	for i, entry := range list {
		e := entry.(map[string]any)
		require.Len(t, e, 3, a.text)
		require.NotEmpty(t, e["message"])
		found[i] = violation{e["code"].(string), e["field"].(string)}
	}
	return found
}

// requireError holds an error to the shape that all have, and to its status,
// code and field; an empty field is one that is not there.
func (a response) requireError(t *testing.T, status int, code, field string) {
	t.Helper()
	require.Equal(t, status, a.status, a.text)
	require.Equal(t, code, a.body["code"], a.text)
	if field == "" {
		require.NotContains(t, a.body, "field", a.text)
	} else {
		require.Equal(t, field, a.body["field"], a.text)
	}
	kind := "INVALID_REQUEST"
	if status >= 500 {
		kind = "API_ERROR"
	}
	require.Equal(t, kind, a.body["type"])
	require.NotEmpty(t, a.body["message"])
	require.LessOrEqual(t, len(a.text), 16<<10)
	for name := range a.body {
		require.Contains(t, []string{"type", "code", "message", "field", "resource_id", "resource_type", "errors"}, name)
	}
	if _, ok := a.body["resource_id"]; ok {
		require.Equal(t, "CHARGE_DATA", a.body["resource_type"])
	} else {
		require.NotContains(t, a.body, "resource_type")
	}
	if _, ok := a.body["errors"]; ok {
		violations := a.violations(t)
		require.NotEmpty(t, violations)
		require.Equal(t, violation{code, field}, violations[0], "the first is the one above")
		require.Equal(t, a.body["message"], at(a.body["errors"], "0.message"))
		require.LessOrEqual(t, len(violations), 100)
	}
}

// requireRetryable holds a 5xx to what it says about sending again: a 503 with
// a Retry-After where it is safe, a 500 without one where it is not.
func (a response) requireRetryable(t *testing.T, safe bool) {
	t.Helper()
	if safe {
		a.requireError(t, http.StatusServiceUnavailable, "INTERNAL_ERROR", "")
		require.Equal(t, "true", a.header.Get("Idempotency-Retryable"))
		require.Regexp(t, `^[1-9][0-9]*$`, a.header.Get("Retry-After"))
		return
	}
	a.requireError(t, http.StatusInternalServerError, "INTERNAL_ERROR", "")
	require.Equal(t, "false", a.header.Get("Idempotency-Retryable"))
	require.Empty(t, a.header.Values("Retry-After"))
}

// event returns a valid event of the four required members and those given,
// each `"name":value`. One that names a required member takes its place; a
// "-name" leaves it out.
func event(members ...string) string {
	var b strings.Builder
	b.WriteByte('{')
	for _, required := range []string{
		`"product_item_id":"proi_1"`, `"pricing_id":"pric_1"`, `"pricing_item_id":"prii_1"`, `"pricing_item_config_id":"pico_1"`,
	} {
		name, _, _ := strings.Cut(required, ":")
		replaced := false
		for _, m := range members {
			replaced = replaced || strings.HasPrefix(m, name+":") || m == "-"+strings.Trim(name, `"`)
		}
		if !replaced {
			b.WriteString(required + ",")
		}
	}
	for _, m := range members {
		if !strings.HasPrefix(m, "-") {
			b.WriteString(m + ",")
		}
	}
	return strings.TrimSuffix(b.String(), ",") + "}"
}

// batch is the body of a request of many events.
func batch(events ...string) string {
	return `{"charge_datas":[` + strings.Join(events, ",") + `]}`
}

// quoted is a string as JSON.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always is JSON
	}
	return string(text)
}

// at returns the part of a JSON value at a dotted path.
func at(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[part]
		case []any:
			var i int
			if err := json.Unmarshal([]byte(part), &i); err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// keptLog is the text of a log, safe to read while it is written.
type keptLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *keptLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *keptLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// storeFunc is a store of one function, which cannot be read back.
type storeFunc func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)

func (f storeFunc) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	return f(ctx, b)
}

// readableStore is a memstore of which a test replaces a method.
type readableStore struct {
	*memstore.Store
	append func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)
	get    func(context.Context, string, string) (chargeingest.StoredEvent, error)
	list   func(context.Context, chargeingest.Query) (chargeingest.Page, error)
}

func (s *readableStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	if s.append != nil {
		return s.append(ctx, b)
	}
	return s.Store.Append(ctx, b)
}

func (s *readableStore) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if s.get != nil {
		return s.get(ctx, platform, id)
	}
	return s.Store.Get(ctx, platform, id)
}

func (s *readableStore) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	if s.list != nil {
		return s.list(ctx, q)
	}
	return s.Store.List(ctx, q)
}

// unreadBody fails the test when something reads it.
type unreadBody struct{ t *testing.T }

func (b unreadBody) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, io.EOF
}
