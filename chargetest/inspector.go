package chargetest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
)

// InspectorURL returns the URL of a web page with the latest requests and the stored events. It
// contains the API key. The page is served from the first call on.
func (s *Server) InspectorURL() string {
	s.t.Helper()
	base := s.URL()
	if base == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inspectorOpen = true
	return base + inspectorPath + "#key=" + url.PathEscape(s.options.APIKey)
}

const inspectorPath = "/inspector/"

func (s *Server) newRoutes() http.Handler {
	var err error
	current := currentStore{s}
	s.inspector, err = inspector.New(inspector.Config{
		Reader: current, Authorizer: current, MaxRequests: max(0, s.options.MaxRequests), ShowUnauthenticated: true, Now: s.Now,
		Sandbox: s.Control(),
	})
	if err != nil {
		s.errorf("create the inspector: %v", err)
		return http.NotFoundHandler()
	}
	endpoint := s.inspector.Middleware(http.HandlerFunc(s.serve))
	page := http.StripPrefix(strings.TrimSuffix(inspectorPath, "/"), s.inspector)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch isPage := strings.HasPrefix(r.URL.Path, inspectorPath) && s.hasInspector(); {
		case !isPage:
			s.network.counted(endpoint).ServeHTTP(w, r)
		case s.options.APIKey == defaultKey && hasForeignHost(r):
			http.Error(w, "chargetest: the page is open to this machine only, because its key is public", http.StatusMisdirectedRequest)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// hasForeignHost is true for a web site whose host name resolves to this machine.
func hasForeignHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	host := (&url.URL{Host: r.Host}).Hostname()
	return ok && local.IP.IsLoopback() && net.ParseIP(host) == nil && !strings.EqualFold(host, "localhost")
}

func (s *Server) hasInspector() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inspectorOpen
}

// currentStore is the store and the authorizer since the last Reset or Restart.
type currentStore struct{ server *Server }

func (c currentStore) get() (*indexedStore, chargeingest.Authorizer) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.server.store, c.server.authorizer
}

func (c currentStore) Authorize(r *http.Request, p chargeingest.Permission) (chargeingest.Principal, error) {
	_, authorizer := c.get()
	if authorizer == nil {
		return chargeingest.Principal{}, errors.New("chargetest: the configuration is invalid")
	}
	return authorizer.Authorize(r, p)
}

func (c currentStore) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	store, _ := c.get()
	return store.Get(ctx, platform, id)
}

func (c currentStore) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	store, _ := c.get()
	return store.List(ctx, q)
}
