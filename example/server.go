package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

// store is what all stores are.
type store interface {
	chargeingest.EventStore
	chargeingest.EventReader
	chargeingest.ReadyChecker
	io.Closer
}

// storeOptions are what every store on disk is told.
type storeOptions struct {
	logger   *slog.Logger
	observer func(chargeingest.CommitStats)
}

func openStore(ctx context.Context, db string, o storeOptions) (store, error) {
	switch {
	case db == inMemory:
		o.logger.Warn("events are kept in memory and are gone when the server ends")
		return memstore.New(), nil
	case isPostgres(db):
		return openPostgres(ctx, db, o)
	}
	s, err := sqlitestore.OpenWith(ctx, db, sqlitestore.Options{Logger: o.logger, Observer: o.observer})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// serve is the command without a name: the server, until ctx ends.
func (p *program) serve(ctx context.Context, args []string) error {
	hangups := make(chan os.Signal, 1)
	p.notify(hangups, syscall.SIGHUP)
	cfg, err := parseServerConfig(args, p.lookupEnv, p.stdout)
	if err != nil {
		return err
	}
	// Without this a write to standard output or error ends the process once
	// nothing reads it.
	p.ignore(syscall.SIGPIPE)
	logger := cfg.logger(p.stderr)
	if o, ok := p.stderr.(*output); ok {
		o.lostLine = cfg.lostLine
	}
	// Beyond ctx, for the requests that are still in flight at its end.
	refreshing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go logHangups(refreshing, hangups, logger)
	tokens, err := cfg.tokens.start(refreshing, logger)
	if err != nil {
		return err
	}
	// Before the store, so that an address that is taken leaves no new database
	// behind.
	l, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer l.close()
	metrics, err := newMetrics()
	if err != nil {
		return err
	}
	events, err := p.openStore(ctx, cfg.db, storeOptions{logger, metrics.ObserveCommit})
	if err != nil {
		return unlessEnded(ctx, err)
	}
	svc, err := newService(cfg, tokens, events, metrics, logger)
	if err == nil {
		err = p.serveService(ctx, cfg, l, svc)
	}
	return errors.Join(err, events.Close())
}

// logHangups says that SIGHUP does nothing, until ctx ends.
func logHangups(ctx context.Context, hangups <-chan os.Signal, logger *slog.Logger) {
	for {
		select {
		case <-hangups:
			logger.Info("SIGHUP is ignored: keys and certificates are read at the start")
		case <-ctx.Done():
			return
		}
	}
}

// listeners are where the server listens.
type listeners struct {
	main    net.Listener
	metrics net.Listener // nil where /metrics is served with the rest
}

// listen listens, though ctx may have ended already: that is dealt with later,
// like any other end.
func listen(ctx context.Context, cfg *serverConfig) (l listeners, err error) {
	ctx = context.WithoutCancel(ctx)
	if l.main, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.addr); err != nil {
		return l, err
	}
	if cfg.metricsAddr != "" {
		if l.metrics, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.metricsAddr); err != nil {
			l.close()
		}
	}
	return l, err
}

// close closes what no server has closed.
func (l listeners) close() {
	_ = l.main.Close()
	if l.metrics != nil {
		_ = l.metrics.Close()
	}
}

// serveService serves until ctx ends and the requests in flight have their responses.
func (p *program) serveService(ctx context.Context, cfg *serverConfig, l listeners, svc *service) error {
	logger := svc.logger
	var requests inFlight
	srv := newHTTPServer(requests.track(svc), cfg.certificate, logger)

	url := listeningURL(cfg, l.main.Addr())
	p.greet(cfg, url, logger)
	served := make(chan error, 2)
	go func() {
		if cfg.certificate != nil {
			served <- srv.ServeTLS(l.main, "", "")
		} else {
			served <- srv.Serve(l.main)
		}
	}()
	logger.Info("listening", "url", url)
	if l.metrics != nil {
		other := newHTTPServer(svc.metrics, nil, logger)
		go func() { served <- other.Serve(l.metrics) }()
		defer func() { _ = other.Close() }()
		logger.Info("listening for /metrics", "addr", l.metrics.Addr())
	}
	summarizing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go svc.summary.logEach(summarizing, time.Minute, logger)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}

	svc.stopping.Store(true)
	logger.Info("stopping", "grace", p.waits.handlers)
	err := shutDown(ctx, srv, &requests, p.waits, logger)
	svc.summary.log(logger)
	if err == nil {
		logger.Info("stopped")
	}
	return err
}

// greet prints the greeting. A server that cannot is still one.
func (p *program) greet(cfg *serverConfig, url string, logger *slog.Logger) {
	_, err := io.WriteString(p.stdout, greeting(cfg, url))
	switch {
	case err == nil:
	case cfg.madeKey != "":
		logger.Error("the API key that was made could not be printed, so that no request will be accepted; "+
			"start the server with -api-key or -keys", "error", err)
	default:
		logger.Warn("the address could not be printed", "error", err)
	}
}

// newHTTPServer bounds every phase of a connection, so that clients that are
// slow, or stop, cannot hold connections and memory for ever.
func newHTTPServer(h http.Handler, certificate *tls.Certificate, logger *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler: h,

		// The handshake of TLS has this long too.
		ReadHeaderTimeout: 5 * time.Second,

		// Header and body. 4 MiB, the default limit of a body, arrive within
		// it at 70 kB/s.
		ReadTimeout: time.Minute,

		// From the end of the header to the end of the answer, so that it
		// holds the reading of the body: half a minute more than that.
		WriteTimeout: 90 * time.Second,

		// Longer than the keep-alive of the usual proxies, which then are the
		// ones that close, never under a request that is on its way.
		IdleTimeout: 2 * time.Minute,

		// No header of the contract is longer than a few hundred bytes; a
		// bearer token can be a few thousand.
		MaxHeaderBytes: 16 << 10,

		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	if certificate != nil {
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	return srv
}

// service is the charge event handler with the paths that tell how it is.
// http.ServeMux would redirect paths that the handler has an answer for.
type service struct {
	ingest    *chargeingest.Handler
	tokens    *jwtauth.Authorizer // nil where no tokens are accepted
	metrics   *metrics
	elsewhere bool // that is where metrics are served
	summary   *summary
	logger    *slog.Logger
	stopping  atomic.Bool
}

func newService(cfg *serverConfig, tokens *jwtauth.Authorizer, events store, m *metrics, logger *slog.Logger) (*service, error) {
	if err := m.watch(events); err != nil {
		return nil, err
	}
	sum := newSummary(time.Now())
	ingest, err := chargeingest.New(chargeingest.Config{
		Store: events, Authorizer: authorizerOf(cfg.keys, tokens), Logger: logger,
		MaxBodyBytes: cfg.maxBody, KeepUnknownFields: cfg.keepUnknown, Duplicates: cfg.duplicates,
		RequireReference: cfg.required,
		Observer: func(ctx context.Context, o chargeingest.RequestStats) {
			m.ObserveRequest(ctx, o)
			sum.add(o)
		},
	})
	if err != nil {
		return nil, err
	}
	return &service{
		ingest: ingest, tokens: tokens, metrics: m, elsewhere: cfg.metricsAddr != "", summary: sum, logger: logger,
	}, nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/livez":
		answerHealth(w, r, func() (int, string) { return http.StatusOK, "alive" })
	case path == "/readyz":
		answerHealth(w, r, func() (int, string) { return s.readiness(r.Context()) })
	case path == "/metrics" && !s.elsewhere:
		s.metrics.ServeHTTP(w, r)
	default:
		s.ingest.ServeHTTP(w, r)
	}
}

// readiness says whether requests should be sent here.
func (s *service) readiness(ctx context.Context) (status int, text string) {
	if s.stopping.Load() {
		return http.StatusServiceUnavailable, "stopping"
	}
	if err := s.ingest.Ready(ctx); err != nil {
		if ctx.Err() == nil {
			s.logger.Warn("not ready", "error", err)
		}
		return http.StatusServiceUnavailable, "the store takes no events at the moment"
	}
	// Also beside API keys: a deployment while the login server is down then
	// stops at its first instance, and the old ones go on with the keys they have.
	if s.tokens != nil {
		if err := s.tokens.Ready(ctx); err != nil {
			s.logger.Warn("not ready", "error", err)
			return http.StatusServiceUnavailable, "the keys of tokens were not fetched yet"
		}
	}
	return http.StatusOK, "ready"
}

func answerHealth(w http.ResponseWriter, r *http.Request, health func() (int, string)) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	status, text := health()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// A client that is gone needs no answer.
	_, _ = io.WriteString(w, text+"\n")
}
