// Package chargetest is a test double of the charge event endpoint, for the tests of
// its clients: the real handler and a real store, with injected faults, a clock that
// the test sets, and access to everything that was sent and stored.
//
//	srv := chargetest.New(t)
//	app := billing.New(http.DefaultClient, srv.URL(), srv.APIKey())
//	srv.FailNext(2, chargetest.Status(503).RetryAfter(time.Second))
//	app.Charge(ctx, "order-42", "12.50")
//	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
//
// # Reaching the server
//
// [Server.URL] listens on loopback. [Server.Client] is an HTTP client that reaches
// the server without a socket, whatever host a URL names. [Server.Handler] can be
// mounted on a mux of the test.
//
// # Faults
//
// A [Fault] is what goes wrong: [Status], [Reset], [Delay], [StoreError], [Truncated],
// [Malformed] or [SlowBody]. [Server.FailNext], [Server.FailFor] and
// [Server.FailSometimes] inject it, into requests that matchers select.
// [Server.Quota] limits the rate, and [Server.Restart] is a crash of the process.
//
// # Subtests
//
// Parallel subtests can use the server of the parent test, which runs until the last
// of them has ended. They tell their events apart by [Reference] or [Customer], and
// do not call [Server.Reset].
//
// # Fuzz targets
//
// One server and one client serve all inputs.
//
//	func FuzzCharge(f *testing.F) {
//		srv := chargetest.New(f)
//		app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//		f.Add("12.50")
//		f.Fuzz(func(t *testing.T, quantity string) {
//			srv.Reset()
//			if err := app.Charge(t.Context(), "order-42", quantity); err == nil {
//				srv.AssertCount(t, 1, chargetest.Reference("order-42"))
//			}
//		})
//	}
//
// If a method that takes no test fails, such as FailNext, the input fails under
// go test -fuzz. Without -fuzz the fuzz test fails when it ends, and that is when the
// first 100 lines of the server's log are written. A server for each input, by New(t)
// in the fuzz function, works as well and is a little slower.
//
// # Benchmarks
//
// Make the server outside of the loop. Its journal keeps every request until
// [Server.Reset].
//
//	func BenchmarkCharge(b *testing.B) {
//		srv := chargetest.New(b)
//		app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//		for b.Loop() {
//			if err := app.Charge(b.Context(), "", "12.50"); err != nil {
//				b.Fatal(err)
//			}
//		}
//	}
//
// # TestMain
//
// TestMain has no test to pass to New. A [Main] takes its place.
//
//	var vendor *chargetest.Server
//
//	func TestMain(m *testing.M) {
//		main := new(chargetest.Main)
//		vendor = chargetest.New(main)
//		os.Exit(main.Run(m))
//	}
//
// # Bubbles
//
// In a bubble of testing/synctest, pass the bubble's own *testing.T to New and use
// Client, which keeps both ends of its connections in memory.
//
//	func TestRetry(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			srv := chargetest.New(t)
//			app := billing.New(srv.Client(), "https://api.vendor.example", srv.APIKey())
//			srv.FailNext(1, chargetest.Status(503).RetryAfter(time.Minute))
//			start := time.Now()
//			_ = app.Charge(t.Context(), "order-42", "12.50")
//			t.Log(time.Since(start)) // 1m0s
//		})
//	}
//
// In a bubble, URL fails the test, and so does a server that was made outside of it:
// the bubble's time does not advance while a goroutine waits for a socket or for
// something outside.
//
// # Inspecting
//
// [Server.Requests] is the journal of all requests, [Server.Events] is what is stored,
// and [Server.Dump] is both as text. The test's log has each request that the
// contract rejects and each request that met a fault.
//
// Methods that wait or assert take the same time after any number of requests, with
// two exceptions: those that return or print a list, and matchers with a predicate,
// which is called for each event.
//
// # Time and ids
//
// The server's clock stands still until [Server.Advance], in a bubble too, unless
// Options.ClockRuns is set. Times of receipt, quotas and outages follow it. The
// duration of a [Delay] or [SlowBody], and the time that a client waits, are real
// time, or that of the bubble. Ids are the same in each run whose requests arrive in
// the same order.
//
// # Goroutines
//
// Every method may be called from any goroutine. Failures have the file and line of
// the call. Methods that start with Assert mark the test as failed and return. Methods
// that start with Wait, and Seed, end the test, but only on the goroutine of a test,
// as FailNow requires. On any other goroutine they return, with fewer results than
// were asked for. After the server's own test has ended it gets no more messages. A
// failure of another test that has ended fails the server's test.
//
// # Differences from production
//
// While there are faults to inject, a request is read whole before it is served,
// because its content can decide which fault it meets. Otherwise only as much is read
// as the handler reads. The journal keeps in memory what was read, until
// [Server.Reset].
package chargetest

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// TB is what a [Server] needs of a test; testing.TB and [Main] have it.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Store is what a [Server] keeps events in.
type Store interface {
	chargeingest.EventStore
	chargeingest.EventReader
}

// Options are the settings of a [Server]. The zero value has the defaults.
type Options struct {
	// Configure, if set, changes the handler's configuration, such as its
	// Authorizer, KeepUnknownFields, Duplicates or RequireReference. It is called for
	// each handler: by New, Restart and Reset. Store, Now and RequestID are set by
	// the server.
	Configure func(*chargeingest.Config)

	// NewStore returns an empty store. It is called by New and by each Reset. A
	// store that is an io.Closer is closed when it is no longer needed. Default: a
	// memstore whose ids are the same in each run.
	NewStore func() Store

	// Keys are API keys in addition to [Server.APIKey].
	Keys []chargeingest.Key

	// Start is the initial time of the clock. Default: 2026-01-01T00:00:00Z.
	Start time.Time

	// ClockRuns makes the clock advance with the time of the machine or of the
	// bubble. Default: it stands still until Advance.
	ClockRuns bool

	// Wait is the most that WaitEvent, WaitEvents, WaitRequest and WaitRequests
	// wait. They always end before the test's deadline, if it has one. Default: a
	// minute; in a bubble of testing/synctest an hour of its time.
	Wait time.Duration
}

// defaultKey may do everything on chargeingest.DefaultPlatform.
const defaultKey = "chargetest-api-key"

// Server is a test double of the endpoint.
type Server struct {
	t       TB
	options Options

	network *network
	pipe    *pipeListener // of Client, made by the first call
	url     string        // of URL, made by the first call

	bubbled bool // made in a bubble of testing/synctest

	audiences audiences

	// turn is held by Restart, Reset and Close: one at a time.
	turn sync.Mutex

	mu         sync.Mutex
	began      time.Time     // when the clock showed Options.Start
	advanced   time.Duration // by Advance since then
	handler    *chargeingest.Handler
	store      *ledger
	rules      []*Rule
	journal    []*Request
	rejected   []*Request // of the journal
	lastID     int
	changed    chan struct{} // closed, and made anew, when something was stored or answered
	restarting chan struct{} // closed, and made anew, by Restart
	closing    chan struct{} // closed when the server ends
	isClosed   bool
}

// New starts a server that ends with the test: a *testing.T, B or F, or in TestMain
// a [Main]. It panics if t is nil, and if a fuzz function passes the *testing.F.
func New(t TB) *Server {
	t = heard(t)
	t.Helper()
	return NewWith(t, Options{})
}

// NewWith is [New] with options. If they are invalid the test fails, and the response
// to every request is 500.
func NewWith(t TB, o Options) *Server {
	t = heard(t)
	t.Helper()
	if o.NewStore == nil {
		o.NewStore = func() Store { return memstore.NewWith(memstore.Options{Entropy: rand.NewChaCha8([32]byte{1})}) }
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	s := &Server{
		t: t, options: o, began: time.Now(), bubbled: inBubble(),
		changed: make(chan struct{}), restarting: make(chan struct{}), closing: make(chan struct{}),
	}
	s.network = newNetwork(s.serve, log.New(logWriter{s}, "", 0))
	if around, ok := t.(limited); s.bubbled && ok && !isOfBubble(around) {
		s.errorf("the server was made in a bubble of testing/synctest with the test around it: pass the bubble's *testing.T")
		s.isClosed = true // it cannot be closed when that test ends
		return s
	}
	s.store = newLedger(s, o.NewStore())
	s.handler = s.newHandler(s.store)
	t.Cleanup(func() {
		t.Helper()
		s.audiences.close(t)
		s.Close()
	})
	return s
}

// newHandler makes the handler over a store. Nil, of which the test was told, is
// one that cannot be made.
func (s *Server) newHandler(store *ledger) *chargeingest.Handler {
	s.t.Helper()
	h, err := s.makeHandler(store)
	if err != nil {
		s.errorf("the handler cannot be made: %v", err)
		return nil
	}
	return h
}

func (s *Server) makeHandler(store *ledger) (*chargeingest.Handler, error) {
	const ingest, view = chargeingest.PermissionIngest, chargeingest.PermissionView
	keys, err := chargeingest.NewKeys(append([]chargeingest.Key{{
		Secret: defaultKey, Subject: "chargetest",
		Permissions: []chargeingest.Permission{ingest, view}, Platforms: []string{chargeingest.DefaultPlatform},
	}}, s.options.Keys...)...)
	if err != nil {
		return nil, fmt.Errorf("Options.Keys: %w", err)
	}
	cfg := chargeingest.Config{Authorizer: keys}
	if s.options.Configure != nil {
		s.options.Configure(&cfg)
	}
	cfg.Store, cfg.Now, cfg.RequestID = store, s.Now, s.requestID
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(logWriter{s}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	observe := cfg.Observer
	cfg.Observer = func(ctx context.Context, o chargeingest.RequestStats) {
		s.observed(ctx, o)
		if observe != nil {
			observe(ctx, o)
		}
	}
	return chargeingest.New(cfg)
}

// APIKey is a key with both permissions on chargeingest.DefaultPlatform, to be
// sent as X-API-KEY or as a Bearer token.
func (s *Server) APIKey() string { return defaultKey }

// Handler is the server as an http.Handler. A fault that cuts the connection panics
// with http.ErrAbortHandler if the connection cannot be hijacked.
func (s *Server) Handler() http.Handler { return s.network.serve }

// Now is the time of the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock()
}

// clock is Now. Called with s.mu held.
func (s *Server) clock() time.Time {
	now := s.options.Start.Add(s.advanced)
	if s.options.ClockRuns {
		now = now.Add(time.Since(s.began))
	}
	return now
}

// Advance sets the server's clock forward.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	if d < 0 {
		s.errorf("Advance(%s): the clock goes forward only", d)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advanced += d
}

// requestID makes the next id of a request that came without one.
func (s *Server) requestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return fmt.Sprintf("reqr_%020d", s.lastID)
}

// Restart is what a client sees of a process that is killed and started again: every
// connection is cut, requests in flight end, and what was stored is kept. Faults,
// journal and clock stay as they are. Requests by way of [Server.Handler] go on. It
// must not be called within a request.
func (s *Server) Restart() {
	s.t.Helper()
	if s.strayed(s.t) {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	close(s.restarting)
	s.restarting = make(chan struct{})
	store := s.store
	s.mu.Unlock()
	s.network.cut()
	handler := s.newHandler(store)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = handler
}

// Reset returns the server to its initial state: nothing stored, no faults, an empty
// journal, and the clock at its start. Connections stay open.
func (s *Server) Reset() {
	s.t.Helper()
	if s.strayed(s.t) {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	old, closed := s.store, s.isClosed
	s.mu.Unlock()
	if closed {
		return
	}
	store := newLedger(s, s.options.NewStore())
	handler := s.newHandler(store)
	s.mu.Lock()
	s.store, s.handler, s.lastID = store, handler, 0
	s.began, s.advanced = time.Now(), 0
	s.rules, s.journal, s.rejected = nil, nil, nil
	s.mu.Unlock()
	if err := closeStore(old); err != nil {
		s.errorf("%v", err)
	}
}

// closeStore closes a store that is not needed any more.
func closeStore(l *ledger) error {
	if c, ok := l.Store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close the store: %w", err)
		}
	}
	return nil
}

// Close ends the server: connections are cut, and methods that wait return. A test
// that made the server need not call it. It must not be called within a request.
func (s *Server) Close() {
	s.t.Helper()
	if s.strayed(s.t) {
		return
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	if s.isClosed {
		s.mu.Unlock()
		return
	}
	s.isClosed = true
	close(s.closing)
	store := s.store
	s.mu.Unlock()
	s.network.close()
	for _, unmet := range s.unmet() {
		s.t.Logf("chargetest: %s", unmet) // this is the test's own cleanup, or before it
	}
	if err := closeStore(store); err != nil {
		s.t.Errorf("chargetest: %v", err)
	}
}

// unmet are the faults that were ordered and not met.
func (s *Server) unmet() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if unmet := r.unmet(); unmet != "" {
			lines = append(lines, unmet)
		}
	}
	return lines
}

// tell writes a line to the test's log, unless the test has ended.
func (s *Server) tell(line string) {
	s.t.Helper()
	s.audiences.report(s.t, func(t TB) {
		t.Helper()
		t.Logf("chargetest: %s", line)
	})
}

// errorf fails the server's own test, unless it has ended.
func (s *Server) errorf(format string, args ...any) {
	s.t.Helper()
	s.report(s.t, format, args...)
}

// logWriter writes lines to the test's log.
type logWriter struct{ *Server }

func (w logWriter) Write(p []byte) (int, error) {
	w.tell(strings.TrimSpace(string(p)))
	return len(p), nil
}
