package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/memstore"
)

const asProgram = "CHARGEINGEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if wait := os.Getenv(asProgram); wait != "" {
		p := newProgram()
		if d, err := time.ParseDuration(wait); err == nil {
			p.timeouts.stalledResponse, p.timeouts.connections = d, d
		}
		p.tick = func(time.Duration) <-chan time.Time { return time.Tick(10 * time.Millisecond) }
		os.Exit(p.run(cli.UntilSignal(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

type recorder struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
	return r.text.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *recorder) waitFor(text string, done <-chan struct{}) bool {
	for {
		r.mu.Lock()
		found, changed := strings.Contains(r.text.String(), text), r.changed
		r.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return strings.Contains(r.String(), text)
		}
	}
}

type testProgram struct {
	*program
	out, log *recorder
	env      map[string]string
}

func newTestProgram() *testProgram {
	tp := &testProgram{
		program: newProgram(), out: newRecorder(), log: newRecorder(),
		env: make(map[string]string),
	}
	tp.stdout, tp.stderr = tp.out, tp.log
	tp.lookupEnv = func(name string) (string, bool) {
		value, ok := tp.env[name]
		return value, ok
	}
	tp.notifySignals, tp.ignoreSignals = func(chan<- os.Signal, ...os.Signal) {}, func(...os.Signal) {}
	return tp
}

type runningServer struct {
	*testProgram
	url, key, curl string
	stop           context.CancelFunc
	done           chan struct{}
	status         int // valid once done is closed
}

func (tp *testProgram) start(t *testing.T, args ...string) *runningServer {
	t.Helper()
	return tp.startOnly(t, append([]string{"-db", inMemory}, args...)...)
}

func (tp *testProgram) startOnly(t *testing.T, args ...string) *runningServer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &runningServer{testProgram: tp, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.status = tp.run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...))
	}()
	t.Cleanup(func() {
		stop()
		<-s.done
	})
	require.True(t, tp.out.waitFor("\ncurl ", s.done), "the server did not start: %s", tp.log)
	for line := range strings.Lines(tp.out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			s.url = url
		}
		if key, ok := strings.CutPrefix(line, "API key (generated at each start): "); ok {
			s.key = key
		}
		if strings.HasPrefix(line, "curl ") {
			s.curl = line
		}
	}
	return s
}

func startServer(t *testing.T, args ...string) *runningServer {
	t.Helper()
	return newTestProgram().start(t, args...)
}

func (s *runningServer) send(t *testing.T, method, path, body string) (status int, response string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

func (s *runningServer) events(t *testing.T) []string {
	t.Helper()
	client, err := chargeclient.New(chargeclient.Config{URL: s.url, APIKey: s.key})
	require.NoError(t, err)
	page, err := client.List(t.Context(), chargeclient.Query{Ascending: true, Limit: 1000})
	require.NoError(t, err)
	require.Empty(t, page.Next, "more than one page")
	var events []string
	for _, e := range page.Events {
		events = append(events, string(e.JSON))
	}
	return events
}

func eventLine(n int) string {
	return fmt.Sprintf(`{"product_item_id":"proi_%d","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",`+
		`"reference":"ref-%d","value":{"number":"%d.50"},"timestamp":"2026-09-01T09:00:29+09:00"}`, n, n, n)
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

type blockingStore struct {
	store
	entered, release chan struct{}

	mu    sync.Mutex
	calls []string
}

func newBlockingStore() *blockingStore {
	return &blockingStore{store: memstore.New(), entered: make(chan struct{}), release: make(chan struct{})}
}

func (s *blockingStore) open(context.Context, string, storeOptions) (store, error) {
	return s, nil
}

func (s *blockingStore) record(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

func (s *blockingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	close(s.entered)
	select {
	case <-s.release:
	case <-ctx.Done():
		return chargeingest.AppendResult{}, chargeingest.ErrNotStored
	}
	defer s.record("append")
	return s.store.Append(ctx, b)
}

func (s *blockingStore) Close() error {
	s.record("close")
	return s.store.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
