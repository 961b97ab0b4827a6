package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/jwtauth"
)

func (p *program) serve(ctx context.Context, args []string) error {
	hangups := make(chan os.Signal, 1)
	p.notifySignals(hangups, syscall.SIGHUP)
	cfg, err := parseServerConfig(args, p.lookupEnv, p.stdout)
	if err != nil {
		return err
	}
	// Otherwise a write to a closed output ends the process.
	p.ignoreSignals(syscall.SIGPIPE)
	logger := cfg.newLogger(p.stderr)
	if o, ok := p.stderr.(*output); ok {
		o.lostLines = cfg.lostLines
	}
	if cfg.sandbox.enabled {
		return p.serveSandbox(ctx, cfg, logger)
	}
	// Requests in flight need the token keys until the end.
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	metrics, err := newMetrics()
	if err != nil {
		return err
	}
	if cfg.certificate != nil {
		cfg.certificate.register(metrics.registry)
	}
	manager := &serviceManager{logger: logger}
	reloaders := newReloaders(cfg, logger, metrics.ObserveKeyReload)
	go reloadUntilDone(background, reloaders, hangups, p.tick(reloadPeriod), manager)
	tokens, err := cfg.tokens.start(background, logger)
	if err != nil {
		return err
	}
	// An address in use must not leave a new database.
	l, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer l.close()
	cfg.inspector = cfg.inspector.resolve(l, cfg.keys)
	events, err := p.openStore(ctx, cfg.db, storeOptions{logger, metrics.ObserveCommit})
	if err != nil {
		return cli.UnlessDone(ctx, err)
	}
	return errors.Join(p.serveStore(ctx, cfg, l, tokens, events, metrics, manager), events.Close())
}

func (p *program) serveStore(ctx context.Context, cfg *serverConfig, l listeners, tokens *jwtauth.Authorizer, events store, m *metrics, manager *serviceManager) error {
	logger := manager.logger
	relays, err := newRelays(ctx, &cfg.relay, events, p.tuneRelay, logger)
	if err != nil {
		return cli.UnlessDone(ctx, err)
	}
	svc, err := newService(cfg, tokens, events, relays, m, logger)
	if err != nil {
		relays.close()
		return err
	}
	stopRetention := retain(ctx, cfg.retain, events, m, logger)
	stopRelays := relays.start(ctx, p.timeouts.total)
	err = p.serveService(ctx, cfg, l, svc, manager)
	stopRetention()
	return errors.Join(err, stopRelays())
}

func (p *program) serveService(ctx context.Context, cfg *serverConfig, l listeners, svc *service, manager *serviceManager) error {
	logger := svc.logger
	svc.separateMetrics = l.metrics != nil
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
		metricsServer := newHTTPServer(svc.metrics, nil, logger)
		go func() { served <- metricsServer.Serve(l.metrics) }()
		defer func() { _ = metricsServer.Close() }()
		logger.Info("listening for /metrics", "addr", l.metrics.Addr())
	}
	manager.started()
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go svc.summary.logEach(background, time.Minute, logger)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}

	svc.stopping.Store(true)
	manager.stopping()
	logger.Info("stopping", "grace", p.timeouts.total)
	err := shutDown(ctx, srv, &requests, p.timeouts, logger)
	svc.summary.log(logger)
	if err == nil {
		logger.Info("stopped")
	}
	return err
}

func (p *program) greet(cfg *serverConfig, url string, logger *slog.Logger) {
	_, err := io.WriteString(p.stdout, greeting(cfg, url))
	switch {
	case err == nil:
	case cfg.generatedKey != "":
		logger.Error("the generated API key could not be printed, so no request can be authorized; "+
			"restart with -api-key or -keys", "error", err)
	default:
		logger.Warn("the URL could not be printed", "error", err)
	}
}

// newHTTPServer limits each phase of a connection: slow clients cannot hold memory.
func newHTTPServer(h http.Handler, certificate *certificate, logger *slog.Logger) *http.Server {
	srv := &http.Server{
		Handler: h,

		// This includes the TLS handshake.
		ReadHeaderTimeout: 5 * time.Second,

		// A body of 4 MiB, the default limit, needs 70 kB/s.
		ReadTimeout: time.Minute,

		// From the end of the header to that of the response.
		WriteTimeout: 90 * time.Second,

		// Longer than the keep-alive of common proxies: the server must not close a connection
		// on which the proxy sends a request.
		IdleTimeout: 2 * time.Minute,

		// Bearer tokens can have a few thousand bytes.
		MaxHeaderBytes: 16 << 10,

		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	if certificate != nil {
		srv.TLSConfig = certificate.config()
	}
	return srv
}
