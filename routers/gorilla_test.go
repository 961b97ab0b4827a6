package routers_test

import (
	"net/http"
	"testing"

	"github.com/gorilla/mux"
)

// In gorilla/mux, whose variables become path values in the function that
// hands over.
func Example_gorillaMux() {
	h := exampleHandler()

	r := mux.NewRouter()
	r.Use(login)
	r.PathPrefix("/billing/").Handler(http.StripPrefix("/billing", h))
	r.HandleFunc("/api/{version}/charges/{id}", func(w http.ResponseWriter, r *http.Request) {
		r.SetPathValue("version", mux.Vars(r)["version"]) // gorilla/mux does not
		r.SetPathValue("id", mux.Vars(r)["id"])
		h.GetEvent().ServeHTTP(w, r)
	})

	tryOut(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// muxValues is what gorilla/mux needs to say to the single endpoints: its
// variables, as path values.
func muxValues(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range mux.Vars(r) {
			r.SetPathValue(name, value)
		}
		next.ServeHTTP(w, r)
	})
}

// gorillaHost mounts in a gorilla/mux router.
func gorillaHost(e endpoints, label func(string)) http.Handler {
	r := mux.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			template, _ := mux.CurrentRoute(r).GetPathTemplate()
			label(template)
		})
	})
	r.Use(login, muxValues)
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
	s := serve(t, gorillaHost(endpointsOf(newHandler(t)), unlabelled))
	requireRules(t, s)
	requireEndpoints(t, s)
}

func TestGorillaMuxKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, served(gorillaHost),
		labelled{http.MethodGet, eventPath, "/billing/"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/"},
		labelled{http.MethodDelete, eventPath, "/billing/"},
		labelled{http.MethodPost, "/api/v1/charges", "/api/{version}/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "/api/{version}/charges/{id}"},
		labelled{http.MethodHead, "/charges/x", "/charges/{id}"},
	)
}

// gorilla/mux sends a path that is not clean to the clean one with 301, after
// which clients send a GET. It looks at the path unescaped: an escaped slash is
// one like any other, unless the router has UseEncodedPath.
func TestGorillaMuxAnswersItself(t *testing.T) {
	t.Parallel()
	s := serve(t, gorillaHost(endpointsOf(newHandler(t)), unlabelled))
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
	requireHostAnswers(t, s,
		hostAnswer{http.MethodPost, "/billing//v1/ingest/charge-data", http.StatusMovedPermanently, eventPath},
		hostAnswer{http.MethodGet, eventPath + "/%2F", http.StatusMovedPermanently, eventPath + "/"},
		hostAnswer{http.MethodGet, eventPath + "/..%2Fx", http.StatusMovedPermanently, prefix + "/v1/ingest/x"},
		hostAnswer{http.MethodGet, "/charges/a%2Fb", http.StatusNotFound, ""},
		hostAnswer{http.MethodGet, prefix, http.StatusNotFound, ""},
		hostAnswer{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
	)
}

func TestGorillaMuxByEncodedPath(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	r := mux.NewRouter().UseEncodedPath()
	r.Use(login, muxValues)
	r.PathPrefix(prefix + "/").Handler(http.StripPrefix(prefix, h))
	r.Handle("/charges/{id}", h.GetEvent())
	s := serve(t, r)
	requireRules(t, s)
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
}
