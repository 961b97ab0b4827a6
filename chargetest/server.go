package chargetest

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// TB is the part of testing.TB that a [Server] uses.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Store holds the events of a [Server].
type Store interface {
	chargeingest.EventStore
	chargeingest.EventReader
}

// Options configures a [Server]. The zero value selects the defaults.
type Options struct {
	// Configure, if set, changes the configuration of each handler that New, Restart and Reset
	// create. The server overrides Store, Now and RequestID.
	Configure func(*chargeingest.Config)

	// NewStore returns an empty store for New and Reset. The server closes it if it is an
	// io.Closer. Default: a memstore with reproducible ids.
	NewStore func() Store

	// Keys are valid in addition to [Server.APIKey].
	Keys []chargeingest.Key

	// StartTime is the initial time of the clock. Default: 2026-01-01T00:00:00Z.
	StartTime time.Time

	// RunningClock makes the clock advance with time.Now. Default: it stands still.
	RunningClock bool

	// WaitTimeout limits the Wait methods. Default: one minute; one hour in a synctest bubble.
	WaitTimeout time.Duration
}

const defaultKey = "chargetest-api-key"

// Server is a test double of the charge event endpoint.
type Server struct {
	t       TB
	options Options

	network *network
	pipe    *pipeListener
	url     string

	inBubble bool

	tests testTracker

	lifecycle sync.Mutex // held by Restart, Reset and Close

	mu         sync.Mutex
	clockStart time.Time // time of New or Reset
	advanced   time.Duration
	handler    *chargeingest.Handler
	authorizer chargeingest.Authorizer
	store      *indexedStore
	rules      []*Rule
	lastRule   int
	samples    int
	journal    []*Request
	rejected   []*Request
	lastID     int
	changed    chan struct{}
	restarting chan struct{}
	closing    chan struct{}
	isClosed   bool
}

// New starts a server that is closed when the test ends. In TestMain, pass a [Main]. New
// panics if t is nil, or if the function passed to f.Fuzz uses the *testing.F instead of
// its own *testing.T.
func New(t TB) *Server {
	t = concurrentTB(t)
	t.Helper()
	return NewWith(t, Options{})
}

// NewWith is [New] with options. If they are invalid, the test and all requests fail.
func NewWith(t TB, o Options) *Server {
	t = concurrentTB(t)
	t.Helper()
	if o.NewStore == nil {
		o.NewStore = func() Store { return memstore.NewWith(memstore.Options{Entropy: rand.NewChaCha8([32]byte{1})}) }
	}
	if o.StartTime.IsZero() {
		o.StartTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	s := &Server{
		t: t, options: o, clockStart: time.Now(), inBubble: inBubble(),
		changed: make(chan struct{}), restarting: make(chan struct{}), closing: make(chan struct{}),
	}
	s.network = newNetwork(s.serve, log.New(logWriter{s}, "", 0))
	if outer, ok := t.(deadliner); s.inBubble && ok && !isBubbleTest(outer) {
		s.errorf("the server was created in a synctest bubble with the test outside: pass the bubble's *testing.T")
		s.isClosed = true // too late to close it with the outer test
		return s
	}
	s.store = newIndexedStore(s, o.NewStore())
	s.handler = s.newHandler(s.store)
	t.Cleanup(func() {
		t.Helper()
		s.tests.close(t)
		s.Close()
	})
	return s
}

func (s *Server) newHandler(store *indexedStore) *chargeingest.Handler {
	s.t.Helper()
	h, err := s.makeHandler(store)
	if err != nil {
		s.errorf("create the handler: %v", err)
		return nil
	}
	return h
}

func (s *Server) makeHandler(store *indexedStore) (*chargeingest.Handler, error) {
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
	cfg.Store, cfg.Now, cfg.RequestID = store, s.Now, s.newRequestID
	s.mu.Lock()
	s.authorizer = cfg.Authorizer
	s.mu.Unlock()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(logWriter{s}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	observe := cfg.Observer
	cfg.Observer = func(ctx context.Context, stats chargeingest.RequestStats) {
		s.recordStats(ctx, stats)
		if observe != nil {
			observe(ctx, stats)
		}
	}
	return chargeingest.New(cfg)
}

// APIKey returns a key with all permissions on chargeingest.DefaultPlatform.
func (s *Server) APIKey() string { return defaultKey }

// Handler returns the server as an http.Handler. Faults cut connections by panicking with
// http.ErrAbortHandler.
func (s *Server) Handler() http.Handler { return s.network.handler }

func (s *Server) newRequestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return fmt.Sprintf("reqr_%020d", s.lastID)
}

// Restart simulates a crash and restart: it cuts all connections and keeps
// events, faults, journal and clock. Requests through [Server.Handler] continue. Do not call
// Restart within a request.
func (s *Server) Restart() {
	s.t.Helper()
	if s.wrongBubble(s.t) {
		return
	}
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
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

// Reset restores the server's initial state. Connections stay open.
func (s *Server) Reset() {
	s.t.Helper()
	if s.wrongBubble(s.t) {
		return
	}
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.mu.Lock()
	old, closed := s.store, s.isClosed
	s.mu.Unlock()
	if closed {
		return
	}
	store := newIndexedStore(s, s.options.NewStore())
	handler := s.newHandler(store)
	s.mu.Lock()
	s.store, s.handler, s.lastID = store, handler, 0
	s.clockStart, s.advanced = time.Now(), 0
	s.rules, s.journal, s.rejected = nil, nil, nil
	s.mu.Unlock()
	if err := closeStore(old); err != nil {
		s.errorf("%v", err)
	}
}

func closeStore(store *indexedStore) error {
	if c, ok := store.Store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close the store: %w", err)
		}
	}
	return nil
}

// Close closes the server before its test ends. Do not call it within a request.
func (s *Server) Close() {
	s.t.Helper()
	if s.wrongBubble(s.t) {
		return
	}
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
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
	for _, line := range s.unusedRules() {
		s.t.Logf("chargetest: %s", line)
	}
	if err := closeStore(store); err != nil {
		s.t.Errorf("chargetest: %v", err)
	}
}
