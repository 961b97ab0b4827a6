package routers_test

import (
	"net/http"
	"testing"
)

// In net/http's own ServeMux. What it matches are path values already.
func Example_serveMux() {
	h := exampleHandler()

	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", h))
	mux.Handle("GET /api/{version}/charges/{id}", h.GetEvent())

	tryOut(login(mux))
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// serveMuxHost mounts in a net/http ServeMux. The login is within: it hands a
// copy of the request on, and a ServeMux writes the pattern into the request
// that it is given.
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
	s := serve(t, serveMuxHost(endpointsOf(newHandler(t)), unlabelled))
	requireRules(t, s)
	requireEndpoints(t, s)
}

func TestServeMuxKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, served(serveMuxHost),
		labelled{http.MethodGet, eventPath, "/billing/"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/"},
		labelled{http.MethodDelete, eventPath, "/billing/"},
		labelled{http.MethodPost, "/api/v1/charges", "POST /api/{version}/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "GET /api/{version}/charges/{id}"},
		labelled{http.MethodHead, "/charges/x", "GET /charges/{id}"},
	)
}

// A ServeMux sends a path that is not clean to the clean one, whatever the
// handler. It serves HEAD where GET is registered, and answers 405 in its own
// words where the pattern of an endpoint names a method.
func TestServeMuxAnswersItself(t *testing.T) {
	t.Parallel()
	s := serve(t, serveMuxHost(endpointsOf(newHandler(t)), unlabelled))
	requireHostAnswers(t, s,
		hostAnswer{http.MethodPost, "/billing//v1/ingest/charge-data", http.StatusTemporaryRedirect, eventPath},
		hostAnswer{http.MethodPost, "/billing/v1/../v1/ingest/charge-data", http.StatusTemporaryRedirect, eventPath},
		hostAnswer{http.MethodGet, prefix, http.StatusTemporaryRedirect, prefix + "/"},
		hostAnswer{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		hostAnswer{http.MethodGet, "/elsewhere", http.StatusNotFound, ""},
	)
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
}
