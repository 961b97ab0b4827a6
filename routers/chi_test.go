package routers_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
)

// In chi, whose parameters are path values. Its Mount strips the prefix for
// other routers of chi alone: every other handler has it stripped by net/http.
func Example_chi() {
	h := exampleHandler()

	r := chi.NewRouter()
	r.Use(login)
	r.Mount("/billing", http.StripPrefix("/billing", h))
	r.Handle("/api/{version}/charges/{id}", h.GetEvent())

	tryOut(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// chiHost mounts in a chi router.
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
	s := serve(t, chiHost(endpointsOf(newHandler(t)), unlabelled))
	requireRules(t, s)
	requireEndpoints(t, s)
}

// A group of routes with a login of its own, as larger chi routers have them:
// what is stripped is the whole path of the group.
func TestChiInAGroup(t *testing.T) {
	t.Parallel()
	r := chi.NewRouter()
	r.Route(prefix, func(r chi.Router) {
		r.Use(login)
		r.Mount("/", http.StripPrefix(prefix, newHandler(t)))
	})
	requireRules(t, serve(t, r))
}

func TestChiKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, served(chiHost),
		labelled{http.MethodGet, eventPath, "/billing/*"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/*"},
		labelled{http.MethodDelete, eventPath, "/billing/*"},
		labelled{http.MethodPost, "/api/v1/charges", "/api/{version}/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "/api/{version}/charges/{id}"},
		labelled{http.MethodHead, "/charges/x", "/charges/{id}"},
	)
}

// chi redirects and cleans nothing. Where a pattern names a method it answers
// another, HEAD included, with an empty 405 of its own.
func TestChiAnswersItself(t *testing.T) {
	t.Parallel()
	s := serve(t, chiHost(endpointsOf(newHandler(t)), unlabelled))
	requireHostAnswers(t, s,
		hostAnswer{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{"BREW", eventPath, http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		hostAnswer{http.MethodGet, "//billing/v1/ingest/charge-data", http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
	s.do(t, http.MethodDelete, "/charges/x", "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
}
