package routers_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
)

// In chi. Mount strips the prefix only for other chi routers.
func Example_chi() {
	h := exampleHandler()

	r := chi.NewRouter()
	r.Use(login)
	r.Mount("/billing", http.StripPrefix("/billing", h))
	r.Handle("/api/{version}/charges/{id}", h.GetEvent())

	demo(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

func chiHost(e endpoints, label func(string)) http.Handler {
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			label(chi.RouteContext(r.Context()).RoutePattern())
		})
	})
	r.Use(login)
	r.Mount(prefix, http.StripPrefix(prefix, e.all))
	for _, base := range []string{"/api/{version}", ""} {
		r.Method(http.MethodPost, base+"/charges", e.one)
		r.Method(http.MethodGet, base+"/charges", e.list)
		r.Handle(base+"/charges/{id}", e.get)
		r.Handle(base+"/batches", e.many)
	}
	return r
}

func TestChi(t *testing.T) {
	t.Parallel()
	s := serve(t, chiHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestChiGroup(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	r.Route(prefix, func(r chi.Router) {
		r.Use(login)
		r.Mount("/", http.StripPrefix(prefix, newHandler(t)))
	})
	requireContract(t, serve(t, r))
}

func TestChiLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(chiHost),
		routeLabel{http.MethodGet, eventPath, "/billing/*"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/*"},
		routeLabel{http.MethodDelete, eventPath, "/billing/*"},
		routeLabel{http.MethodPost, "/api/v1/charges", "/api/{version}/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/{version}/charges/{id}"},
		routeLabel{http.MethodHead, "/charges/x", "/charges/{id}"},
	)
}

func TestChiOwnResponses(t *testing.T) {
	t.Parallel()
	s := serve(t, chiHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireRouterResponses(t, s,
		routerResponse{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{"BREW", eventPath, http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		routerResponse{http.MethodGet, "//billing/v1/ingest/charge-data", http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
	s.do(t, http.MethodDelete, "/charges/x", "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
}
