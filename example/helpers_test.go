package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	"example.com/chargeingest/memstore"
)

// asProgram makes the test binary the program itself, for tests that need
// another process. Its value, if it is a duration, is how long a shutdown waits
// for clients that accept no response, or send no request.
const asProgram = "CHARGEINGEST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if wait := os.Getenv(asProgram); wait != "" {
		p := newProgram()
		if d, err := time.ParseDuration(wait); err == nil {
			p.waits.stalledResponse, p.waits.connections = d, d
		}
		os.Exit(p.run(untilSignal(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// watched is an output that a test can wait for.
type watched struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed, and made anew, at each write
}

func newWatched() *watched { return &watched{changed: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// has waits until the output has text; it returns false where done comes first.
func (w *watched) has(text string, done <-chan struct{}) bool {
	for {
		w.mu.Lock()
		found, changed := strings.Contains(w.text.String(), text), w.changed
		w.mu.Unlock()
		if found {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return strings.Contains(w.String(), text)
		}
	}
}

// testProgram is a program with a world of its own: outputs that are kept, an
// environment that is empty, and a clock that only sleeping moves.
type testProgram struct {
	*program
	out, log *watched
	env      map[string]string

	mu     sync.Mutex
	clock  time.Time
	pauses []time.Duration
}

func newTestProgram() *testProgram {
	tp := &testProgram{
		program: newProgram(), out: newWatched(), log: newWatched(),
		env: make(map[string]string), clock: time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC),
	}
	tp.stdout, tp.stderr = tp.out, tp.log
	tp.lookupEnv = func(name string) (string, bool) {
		value, ok := tp.env[name]
		return value, ok
	}
	tp.isTerminal = func(io.Writer) bool { return false }
	tp.notify, tp.ignore = func(chan<- os.Signal, ...os.Signal) {}, func(...os.Signal) {}
	tp.now = func() time.Time {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		return tp.clock
	}
	tp.sleep = func(ctx context.Context, d time.Duration) error {
		tp.mu.Lock()
		defer tp.mu.Unlock()
		tp.clock = tp.clock.Add(d)
		tp.pauses = append(tp.pauses, d)
		return ctx.Err()
	}
	return tp
}

// runningServer is a server within the test's process.
type runningServer struct {
	*testProgram
	url, key, curl string
	stop           context.CancelFunc
	done           chan struct{}
	status         int // once done is closed
}

// start runs the server until the test ends, on a free port and, where args say
// nothing else, in memory.
func (tp *testProgram) start(t *testing.T, args ...string) *runningServer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &runningServer{testProgram: tp, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.status = tp.run(ctx, append([]string{"-addr", "127.0.0.1:0", "-db", inMemory}, args...))
	}()
	t.Cleanup(func() {
		stop()
		<-s.done
	})
	require.True(t, tp.out.has("\ncurl ", s.done), "the server did not start: %s", tp.log)
	for line := range strings.Lines(tp.out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			s.url = url
		}
		if key, ok := strings.CutPrefix(line, "API key, new at each start: "); ok {
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

// send sends a request with the server's key and returns status and body.
func (s *runningServer) send(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(answer)
}

// events returns what the server has stored, in the order of storing.
func (s *runningServer) events(t *testing.T) []string {
	t.Helper()
	status, body := s.send(t, http.MethodGet, "/v1/ingest/charge-data?order=asc&limit=1000", "")
	require.Equal(t, http.StatusOK, status, body)
	var page struct {
		Data []json.RawMessage `json:"data"`
		Next *string           `json:"next"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &page))
	require.Nil(t, page.Next, "more events than this helper reads")
	var events []string
	for _, e := range page.Data {
		events = append(events, string(e))
	}
	return events
}

// eventLine is an event that tells its number n; every tenth, from the fourth
// on, has no reference.
func eventLine(n int) string {
	reference := fmt.Sprintf(`"ref-%d"`, n)
	if n%10 == 4 {
		reference = "null"
	}
	return fmt.Sprintf(`{"product_item_id":"proi_%d","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",`+
		`"reference":%s,"value":{"number":"%d.50"},"timestamp":"2026-09-01T09:00:29+09:00"}`, n, reference, n)
}

// eventLines are the events 1 to n.
func eventLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = eventLine(i + 1)
	}
	return lines
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// blockingStore holds every Append until it is released.
type blockingStore struct {
	store
	entered, release chan struct{}

	mu     sync.Mutex
	events []string // what happened, in order
}

func newBlockingStore() *blockingStore {
	return &blockingStore{store: memstore.New(), entered: make(chan struct{}), release: make(chan struct{})}
}

func (s *blockingStore) open(context.Context, string, storeOptions) (store, error) {
	return s, nil
}

func (s *blockingStore) happened(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
}

func (s *blockingStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	close(s.entered)
	select {
	case <-s.release:
	case <-ctx.Done():
		return chargeingest.AppendResult{}, chargeingest.ErrNotStored
	}
	defer s.happened("appended")
	return s.store.Append(ctx, b)
}

func (s *blockingStore) Close() error {
	s.happened("closed")
	return s.store.Close()
}
