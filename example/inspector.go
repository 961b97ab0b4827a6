package main

import (
	"net"
	"net/http"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/relay"
)

const (
	inspectorPath = "/inspector/"

	// inspectorBytes also limits the bodies of requests in progress that will be recorded.
	inspectorBytes = 16 << 20
)

type inspectorMode int

const (
	inspectorAuto inspectorMode = iota
	inspectorOn
	inspectorOff
)

// resolve replaces inspectorAuto. Without keys the page has no login, and a passed socket does
// not tell who can reach it.
func (m inspectorMode) resolve(l listeners, keys *chargeingest.Keys) inspectorMode {
	switch {
	case m != inspectorAuto:
		return m
	case !l.passed && keys != nil && isLoopback(l.main.Addr()):
		return inspectorOn
	}
	return inspectorOff
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// newInspector shows requests without an identified caller only if all callers are one tenant.
func newInspector(cfg *serverConfig, a chargeingest.Authorizer, events store, r *relays) (*inspector.Inspector, error) {
	stats, _ := events.(chargeingest.StatsReporter)
	var ledger relay.Ledger
	if r.journal != nil {
		ledger = r.journal
	}
	return inspector.New(inspector.Config{
		Reader: events, Authorizer: a, Stats: stats, Relay: ledger, MaxBytes: inspectorBytes,
		ShowUnauthenticated: cfg.keyFile == nil && cfg.tokens.jwksURL == "",
	})
}

func inspectorURL(cfg *serverConfig, url string) string {
	if cfg.inspector != inspectorOn || strings.HasPrefix(url, "unix:") {
		return ""
	}
	url += inspectorPath
	if cfg.generatedKey != "" {
		url += "#key=" + cfg.generatedKey
	}
	return url
}

// redirectToInspector is relative: a proxy can add a prefix.
func redirectToInspector(w http.ResponseWriter) {
	w.Header().Set("Location", "inspector/")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
}
