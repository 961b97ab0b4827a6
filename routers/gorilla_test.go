package routers_test

import (
	"net/http"
	"testing"

	"github.com/gorilla/mux"
)

// In gorilla/mux, which does not set path values.
func Example_gorillaMux() {
	h := exampleHandler()

	r := mux.NewRouter()
	r.Use(login)
	r.PathPrefix("/billing/").Handler(http.StripPrefix("/billing", h))
	r.HandleFunc("/api/{version}/charges/{id}", func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("version", mux.Vars(r)["version"])
		r.SetPathValue("id", mux.Vars(r)["id"])
		h.GetEvent().ServeHTTP(w, r)
	})

	demo(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

func muxPathValues(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range mux.Vars(r) {
			r.SetPathValue(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

func gorillaHost(e endpoints, label func(string)) http.Handler {
	r := mux.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			template, _ := mux.CurrentRoute(r).GetPathTemplate()
			label(template)
		})
	})
	r.Use(login, muxPathValues)
	r.PathPrefix(prefix + "/").Handler(http.StripPrefix(prefix, e.all))
	for _, base := range []string{"/api/{version}", ""} {
		r.Handle(base+"/charges", e.one).Methods(http.MethodPost)
		r.Handle(base+"/charges", e.list).Methods(http.MethodGet)
		r.Handle(base+"/charges/{id}", e.get)
		r.Handle(base+"/batches", e.many)
	}
	return r
}

func TestGorillaMux(t *testing.T) {
	t.Parallel()
	s := serve(t, gorillaHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestGorillaMuxLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(gorillaHost),
		routeLabel{http.MethodGet, eventPath, "/billing/"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/"},
		routeLabel{http.MethodDelete, eventPath, "/billing/"},
		routeLabel{http.MethodPost, "/api/v1/charges", "/api/{version}/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/{version}/charges/{id}"},
		routeLabel{http.MethodHead, "/charges/x", "/charges/{id}"},
	)
}

func TestGorillaMuxOwnResponses(t *testing.T) {
	t.Parallel()
	s := serve(t, gorillaHost(endpointsOf(newHandler(t)), ignoreLabel))
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
	requireRouterResponses(t, s,
		routerResponse{http.MethodPost, "/billing//v1/ingest/charge-data", http.StatusMovedPermanently, eventPath},
		routerResponse{http.MethodGet, eventPath + "/%2F", http.StatusMovedPermanently, eventPath + "/"},
		routerResponse{http.MethodGet, eventPath + "/..%2Fx", http.StatusMovedPermanently, prefix + "/v1/ingest/x"},
		routerResponse{http.MethodGet, "/charges/a%2Fb", http.StatusNotFound, ""},
		routerResponse{http.MethodGet, prefix, http.StatusNotFound, ""},
		routerResponse{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
	)
}

func TestGorillaMuxUseEncodedPath(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	r := mux.NewRouter().UseEncodedPath()
	r.Use(login, muxPathValues)
	r.PathPrefix(prefix + "/").Handler(http.StripPrefix(prefix, h))
	r.Handle("/charges/{id}", h.GetEvent())
	s := serve(t, r)
	requireContract(t, s)
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
}
