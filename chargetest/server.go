package chargetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
)

// Server is a test double of the charge event endpoint.
type Server struct {
	t       TB
	options Options

	network *network
	pipe    *pipeListener
	url     string

	inBubble bool
	created  time.Time

	inspector    *inspector.Inspector
	openTerminal func() (*terminal, error)

	tests testTracker

	lifecycle sync.Mutex // held by Restart, Reset and Close

	mu         sync.Mutex
	clockStart time.Time // time of New or Reset
	advanced   time.Duration
	handler    *chargeingest.Handler
	store      *indexedStore
	authorizer chargeingest.Authorizer
	rules      []*Rule
	lastRule   int
	samples    int // of the control API
	journal    *journal
	quirks     quirkState
	lastID     int
	changed    chan struct{}
	restarting chan struct{}
	closing    chan struct{}
	isClosed   bool

	inspectorOpen bool
}

// New starts a server for the time of a test, or of a [Main].
func New(t TB) *Server {
	t = concurrentTB(t)
	t.Helper()
	return NewWith(t, Options{})
}

// NewWith is [New] with options. If they are invalid, the test and all requests fail.
func NewWith(t TB, o Options) *Server {
	t = concurrentTB(t)
	t.Helper()
	o = o.withDefaults()
	s := &Server{
		t: t, options: o, clockStart: time.Now(), created: time.Now(), inBubble: inBubble(),
		changed: make(chan struct{}), restarting: make(chan struct{}), closing: make(chan struct{}),
		openTerminal: openTerminal,
	}
	s.journal, s.quirks = s.newJournal(), s.initialQuirks()
	s.network = newNetwork(s.newRoutes(), log.New(logWriter{s}, "", 0))
	if outer, ok := t.(deadliner); s.inBubble && ok && !isBubbleTest(outer) {
		s.errorf("the server was created in a synctest bubble with the test outside: pass the bubble's *testing.T")
		s.isClosed = true // too late to close it with the outer test
		return s
	}
	s.store = newIndexedStore(s, o.NewStore())
	s.handler, s.authorizer = s.newHandler(s.store)
	t.Cleanup(func() {
		t.Helper()
		s.pauseIfFailed(t)
		s.tests.close(t)
		s.Close()
	})
	return s
}

func (s *Server) newJournal() *journal { return &journal{limit: s.options.MaxRequests} }

func (s *Server) initialQuirks() quirkState {
	return quirkState{Quirks: s.options.Quirks, catalogue: Catalogue{}.with(s.options.Catalogue)}
}

func (s *Server) newHandler(store *indexedStore) (*chargeingest.Handler, chargeingest.Authorizer) {
	s.t.Helper()
	h, authorizer, err := s.makeHandler(store)
	if err != nil {
		s.errorf("create the handler: %v", err)
		return nil, nil
	}
	return h, authorizer
}

func (s *Server) keys() []chargeingest.Key {
	const ingest, view = chargeingest.PermissionIngest, chargeingest.PermissionView
	return append([]chargeingest.Key{{
		Secret: s.options.APIKey, Subject: "chargetest",
		Permissions: []chargeingest.Permission{ingest, view}, Platforms: []string{chargeingest.DefaultPlatform},
	}}, s.options.Keys...)
}

func (s *Server) makeHandler(store *indexedStore) (*chargeingest.Handler, chargeingest.Authorizer, error) {
	if s.options.MaxRequests < 0 {
		return nil, nil, fmt.Errorf("Options.MaxRequests must be 0 (no limit) or more, not %d", s.options.MaxRequests)
	}
	if err := s.options.Quirks.check(); err != nil {
		return nil, nil, fmt.Errorf("Options.%w", err)
	}
	keys, err := chargeingest.NewKeys(s.keys()...)
	if err != nil {
		return nil, nil, fmt.Errorf("Options.APIKey or Options.Keys: %w", err)
	}
	cfg := chargeingest.Config{Authorizer: keys}
	if s.options.Configure != nil {
		s.options.Configure(&cfg)
	}
	cfg.Store, cfg.Now, cfg.RequestID = store, s.Now, s.newRequestID
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
	h, err := chargeingest.New(cfg)
	return h, cfg.Authorizer, err
}

// APIKey returns a key with all permissions on chargeingest.DefaultPlatform.
func (s *Server) APIKey() string { return s.options.APIKey }

// Handler returns the server as an http.Handler. Faults cut connections by panicking with
// http.ErrAbortHandler.
func (s *Server) Handler() http.Handler { return s.network.handler }

func (s *Server) newRequestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return fmt.Sprintf("reqr_%020d", s.lastID)
}

// Restart simulates a crash: it cuts all connections, except those of [Server.Handler], and
// keeps the rest. Do not call it within a request.
func (s *Server) Restart() {
	s.t.Helper()
	s.restart(context.Background())
}

// restart spares the connection of the request with ctx.
func (s *Server) restart(ctx context.Context) {
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
	s.network.cut(connOf(ctx))
	handler, authorizer := s.newHandler(store)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler, s.authorizer = handler, authorizer
}

// Reset restores the server's initial state, but keeps connections open.
func (s *Server) Reset() {
	s.t.Helper()
	if err := s.reset(); err != nil {
		s.errorf("%v", err)
	}
}

func (s *Server) reset() error {
	s.t.Helper()
	if s.options.KeepEvents {
		return errors.New("Reset: the store keeps its events (Options.KeepEvents)")
	}
	if err := s.checkBubble(); err != nil {
		return err
	}
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.mu.Lock()
	old, closed := s.store, s.isClosed
	s.mu.Unlock()
	if closed {
		return nil
	}
	store := newIndexedStore(s, s.options.NewStore())
	handler, authorizer := s.newHandler(store)
	s.mu.Lock()
	s.store, s.handler, s.authorizer, s.lastID, s.samples = store, handler, authorizer, 0, 0
	s.clockStart, s.advanced = time.Now(), 0
	s.rules, s.journal, s.quirks = nil, s.newJournal(), s.initialQuirks()
	s.mu.Unlock()
	return closeStore(old)
}

func closeStore(store *indexedStore) error {
	if c, ok := store.Store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close the store: %w", err)
		}
	}
	return nil
}

// Close is for before the end of the test. Do not call it within a request.
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
