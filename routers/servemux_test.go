package routers_test

import (
	"net/http"
	"testing"
)

// In net/http.
func Example_serveMux() {
	h := exampleHandler()

	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", h))
	mux.Handle("GET /api/{version}/charges/{id}", h.GetEvent())

	demo(login(mux))
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// The login is inside the mux, because it copies the request and Pattern would be lost.
func serveMuxHost(e endpoints, label func(string)) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", login(http.StripPrefix(prefix, e.all)))
	for _, base := range []string{"/api/{version}", ""} {
		mux.Handle("POST "+base+"/charges", login(e.one))
		mux.Handle("GET "+base+"/charges", login(e.list))
		mux.Handle("GET "+base+"/charges/{id}", login(e.get))
		mux.Handle("POST "+base+"/batches", login(e.many))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		label(r.Pattern)
	})
}

func TestServeMux(t *testing.T) {
	t.Parallel()
	s := serve(t, serveMuxHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestServeMuxLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(serveMuxHost),
		routeLabel{http.MethodGet, eventPath, "/billing/"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/"},
		routeLabel{http.MethodDelete, eventPath, "/billing/"},
		routeLabel{http.MethodPost, "/api/v1/charges", "POST /api/{version}/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "GET /api/{version}/charges/{id}"},
		routeLabel{http.MethodHead, "/charges/x", "GET /charges/{id}"},
	)
}

func TestServeMuxOwnResponses(t *testing.T) {
	t.Parallel()
	s := serve(t, serveMuxHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireRouterResponses(t, s,
		routerResponse{http.MethodPost, "/billing//v1/ingest/charge-data", http.StatusTemporaryRedirect, eventPath},
		routerResponse{http.MethodPost, "/billing/v1/../v1/ingest/charge-data", http.StatusTemporaryRedirect, eventPath},
		routerResponse{http.MethodGet, prefix, http.StatusTemporaryRedirect, prefix + "/"},
		routerResponse{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		routerResponse{http.MethodGet, "/elsewhere", http.StatusNotFound, ""},
	)
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
}
