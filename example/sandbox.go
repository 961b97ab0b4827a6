package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/internal/cli"
)

// The journal keeps whole bodies.
const maxSandboxRequests = 1000

type sandboxConfig struct {
	enabled bool
	remote  bool
	key     string
	quirks  chargetest.Quirks
	profile bool // -profile was given
}

// No variable can turn a server into a sandbox.
func (c *sandboxConfig) options() []cli.Option {
	set := func(dst *bool) func(string) error {
		return func(value string) error {
			*dst = value == "true"
			return nil
		}
	}
	return []cli.Option{
		{
			Name: "sandbox",
			Usage: "for tests of clients in any language, never for production: requests to /sandbox/ inject faults, change\n" +
				"the clock and delete the events; -db is memory by default; only on a loopback address or a unix socket",
			Set: set(&c.enabled),
		},
		{
			Name:  "sandbox-remote",
			Usage: "allow -sandbox on any address; everyone who has the key can then control it",
			Set:   set(&c.remote),
		},
		{
			Name: "profile", Argument: "PROFILE",
			Usage: "rules of the sandbox: contract (the default), or vendor, which adds those of the vendor's own service",
			Set: func(value string) error {
				c.profile = true
				return cli.OneOf(&c.quirks, cli.Choice[chargetest.Quirks]{Name: "contract"},
					cli.Choice[chargetest.Quirks]{Name: "vendor", Value: chargetest.VendorQuirks()})(value)
			},
		},
	}
}

func (c *serverConfig) checkSandbox(keys *keyConfig, pair *certificate) error {
	if !c.sandbox.enabled {
		if c.sandbox.remote || c.sandbox.profile {
			return errors.New("-sandbox-remote and -profile require -sandbox")
		}
		return nil
	}
	for _, o := range []struct {
		name  string
		given bool
	}{
		{"-metrics-addr", c.metricsAddr != socketAddress{}},
		{"-retain", c.retain != 0},
		{"-keys", keys.path != ""},
		{"-tls-cert and -tls-key", pair.certFile+pair.keyFile != ""},
		{"-jwks-url and -jwt-…", c.tokens != tokenConfig{}},
		{"-relay-…", c.relay != relayConfig{}},
	} {
		if o.given {
			return fmt.Errorf("%s cannot be used with -sandbox", o.name)
		}
	}
	return nil
}

func (p *program) serveSandbox(ctx context.Context, cfg *serverConfig, logger *slog.Logger) error {
	l, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	defer l.close()
	if addr := l.main.Addr(); addr.Network() != "unix" && !isLoopback(addr) && !cfg.sandbox.remote {
		return cli.Usagef("-sandbox listens only on a loopback address or a unix socket, not on %s, unless -sandbox-remote is given", addr)
	}
	log := &sandboxLog{logger: logger}
	defer log.cleanUp()
	options := chargetest.Options{
		APIKey: cfg.sandbox.key, Quirks: cfg.sandbox.quirks, MaxRequests: maxSandboxRequests,
		RealTime: true,
		Configure: func(c *chargeingest.Config) {
			c.MaxBodyBytes, c.KeepUnknownFields = cfg.maxBody, cfg.keepUnknown
			c.Duplicates, c.RequireReference = cfg.duplicates, cfg.requireReference
		},
	}
	if cfg.db != inMemory {
		events, err := p.openStore(ctx, cfg.db, storeOptions{logger: logger})
		if err != nil {
			return cli.UnlessDone(ctx, err)
		}
		options.KeepEvents, options.NewStore = true, func() chargetest.Store { return events }
	}
	srv := chargetest.NewWith(log, options)
	if cfg.inspector == inspectorAuto {
		cfg.inspector = inspectorOn
	}
	if err := srv.ServeOn(l.main, sandboxRoutes(cfg, srv)); err != nil {
		return err
	}
	if cfg.inspector == inspectorOn {
		srv.InspectorURL() // without this call there is no page
	}
	url := listeningURL(cfg, l.main.Addr())
	p.greet(cfg, url, logger)
	logger.Info("listening", "url", url, "sandbox", true)
	<-ctx.Done()
	logger.Info("stopping")
	log.failed.Store(false)
	srv.Close()
	if log.failed.Load() {
		return errors.New("the sandbox could not be closed")
	}
	logger.Info("stopped")
	return nil
}

func sandboxRoutes(cfg *serverConfig, srv *chargetest.Server) http.Handler {
	control := http.StripPrefix("/sandbox", srv.Control())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nameUnixClient(r)
		switch path := r.URL.Path; {
		case path == "/livez":
			serveHealth(w, r, func() (int, string) { return http.StatusOK, "alive" })
		case path == "/readyz":
			serveHealth(w, r, func() (int, string) { return http.StatusOK, "ready" })
		case strings.HasPrefix(path, "/sandbox/"):
			control.ServeHTTP(w, r)
		case path+"/" == inspectorPath && cfg.inspector == inspectorOn:
			redirectToInspector(w)
		default:
			srv.Handler().ServeHTTP(w, r)
		}
	})
}

// sandboxLog is a chargetest.Server's test.
type sandboxLog struct {
	logger   *slog.Logger
	cleanups []func()
	failed   atomic.Bool
}

func (*sandboxLog) Helper()            {}
func (l *sandboxLog) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *sandboxLog) Logf(format string, args ...any) { l.logger.Info(sandboxLine(format, args)) }

func (l *sandboxLog) Errorf(format string, args ...any) {
	l.failed.Store(true)
	l.logger.Error(sandboxLine(format, args))
}

func sandboxLine(format string, args []any) string {
	return strings.TrimPrefix(fmt.Sprintf(format, args...), "chargetest: ")
}

func (l *sandboxLog) cleanUp() {
	for _, f := range slices.Backward(l.cleanups) {
		f()
	}
}

const sandboxWarning = "WARNING: this is a sandbox for tests, not for production: it loses responses and events on demand\n"

func greetSandbox(cfg *serverConfig, curl func(purpose, path, body string)) {
	if cfg.sandbox.quirks.Catalogue {
		curl("To add a customer and a product to the catalogue", "/sandbox/catalogue -X PUT",
			`{"customers":["customer-1"],"subscriptions":[],"products":["proi_example"]}`)
	}
	curl("To store the next event but lose the response", "/sandbox/faults",
		`{"next":1,"fault":{"type":"reset","after_commit":true}}`)
}
