package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// service adds other endpoints. An http.ServeMux would redirect some paths of the handler.
type service struct {
	ingest          *chargeingest.Handler
	endpoint        http.Handler        // with the inspector's middleware
	inspector       http.Handler        // nil if it is off
	relay           http.Handler        // nil without a relay
	tokens          *jwtauth.Authorizer // nil if no tokens are accepted
	metrics         *metrics
	separateMetrics bool // /metrics has its own listener
	summary         *summary
	logger          *slog.Logger
	stopping        atomic.Bool
}

func newService(cfg *serverConfig, tokens *jwtauth.Authorizer, events store, r *relays, m *metrics, logger *slog.Logger) (*service, error) {
	if err := errors.Join(m.registerStore(events), m.registerRelays(r)); err != nil {
		return nil, err
	}
	sum := newSummary(time.Now())
	authorizer := newAuthorizer(cfg.keys, tokens)
	ingest, err := chargeingest.New(chargeingest.Config{
		Store: events, Authorizer: authorizer, Logger: logger,
		MaxBodyBytes: cfg.maxBody, KeepUnknownFields: cfg.keepUnknown, Duplicates: cfg.duplicates,
		RequireReference: cfg.requireReference,
		Observer: func(ctx context.Context, o chargeingest.RequestStats) {
			m.ObserveRequest(ctx, o)
			sum.add(o)
			r.observe(o)
		},
	})
	if err != nil {
		return nil, err
	}
	api, err := r.api(authorizer)
	if err != nil {
		return nil, err
	}
	s := &service{
		ingest: ingest, endpoint: ingest, relay: api, tokens: tokens, metrics: m, summary: sum, logger: logger,
	}
	if cfg.inspector == inspectorOn {
		page, err := newInspector(cfg, authorizer, events, r)
		if err != nil {
			return nil, err
		}
		s.endpoint, s.inspector = page.Middleware(ingest), http.StripPrefix("/inspector", page)
	}
	m.registerReadiness(func(ctx context.Context) bool { status, _ := s.readiness(ctx); return status == http.StatusOK })
	return s, nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nameUnixClient(r)
	switch path := r.URL.Path; {
	case path == "/livez":
		serveHealth(w, r, func() (int, string) { return http.StatusOK, "alive" })
	case path == "/readyz":
		serveHealth(w, r, func() (int, string) { return s.readiness(r.Context()) })
	case path == "/metrics" && !s.separateMetrics:
		s.metrics.ServeHTTP(w, r)
	case path+"/" == inspectorPath && s.inspector != nil:
		redirectToInspector(w)
	case strings.HasPrefix(path, inspectorPath) && s.inspector != nil:
		s.inspector.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/relay/") && s.relay != nil:
		s.relay.ServeHTTP(w, r)
	default:
		s.endpoint.ServeHTTP(w, r)
	}
}

func nameUnixClient(r *http.Request) {
	if r.RemoteAddr == "" || r.RemoteAddr == "@" {
		r.RemoteAddr = "unix"
	}
}

func (s *service) readiness(ctx context.Context) (status int, text string) {
	if s.stopping.Load() {
		return http.StatusServiceUnavailable, "stopping"
	}
	if err := s.ingest.Ready(ctx); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) {
			s.logger.Warn("not ready", "error", err)
		}
		return http.StatusServiceUnavailable, "the store does not accept events"
	}
	// Even with API keys: if the login server is down, a rollout stops at its first instance,
	// and the old ones keep their keys.
	if s.tokens != nil {
		if err := s.tokens.Ready(ctx); err != nil {
			s.logger.Warn("not ready", "error", err)
			return http.StatusServiceUnavailable, "the keys for tokens have not been fetched yet"
		}
	}
	return http.StatusOK, "ready"
}

func serveHealth(w http.ResponseWriter, r *http.Request, health func() (int, string)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	status, text := health()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
