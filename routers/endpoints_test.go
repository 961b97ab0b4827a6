package routers_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireEndpoints holds the four endpoints, mounted one by one on paths of
// the host's own, to the contract: with the version as a parameter of the
// host's pattern, and without one.
func requireEndpoints(t *testing.T, s site) {
	t.Helper()
	for _, c := range []struct{ name, base, reference string }{
		{"the version in the pattern is 1", "/api/1", "single-1"},
		{"the version in the pattern is v1", "/api/v1", "single-v1"},
		{"without a version in the pattern the default is 1", "", "single"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, reference := c.base, c.reference
			one := s.post(t, base+"/charges", event(reference, "1"))
			require.Equal(t, http.StatusCreated, one.status, one.text)
			many := s.post(t, base+"/batches", batch(event(reference, "1"), event(reference+"-2", "1")))
			require.Equal(t, http.StatusCreated, many.status, many.text)
			require.Equal(t, one.body, many.body["charge_datas"].([]any)[0])
			require.Equal(t, []any{one.body}, s.get(t, base+"/charges?reference="+reference).body["data"])

			path := base + "/charges/" + one.body["id"].(string)
			require.Equal(t, one.body, s.get(t, path).body)
			require.Equal(t, http.StatusOK, s.do(t, http.MethodHead, path, "").status)
			s.get(t, base+"/charges/none").requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
			s.get(t, path, "-Cookie").requireError(t, http.StatusUnauthorized, "UNAUTHORISED")
			s.post(t, base+"/charges", event("", "1"), as("vic")).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")
		})
	}
	for _, version := range []string{"2", "v2", "01", "one"} {
		t.Run("the version "+version+" in the pattern is UNSUPPORTED_VERSION", func(t *testing.T) {
			base := "/api/" + version
			s.post(t, base+"/charges", event("", "1")).requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.post(t, base+"/batches", batch(event("", "1"))).requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.get(t, base+"/charges").requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
			s.get(t, base+"/charges/x").requireError(t, http.StatusBadRequest, "UNSUPPORTED_VERSION")
		})
	}
}

// labelled is a request, and what its route is called in the router's metrics.
type labelled struct{ method, path, label string }

// requireLabels holds a host to its labels, which are the same for the handler
// as for one of somebody else.
func requireLabels(t *testing.T, start host, requests ...labelled) {
	t.Helper()
	for name, e := range map[string]endpoints{"the handler": endpointsOf(newHandler(t)), "a foreign handler": foreign()} {
		t.Run("with "+name, func(t *testing.T) {
			labels := make(chan string, 1)
			s := start(t, e, func(label string) { labels <- label })
			for _, r := range requests {
				s.sendToHost(t, s.request(t, r.method, r.path, ""))
				require.Equal(t, r.label, <-labels, "%s %s", r.method, r.path)
			}
		})
	}
}

// hostAnswer is a request that a router answers itself, before any handler.
type hostAnswer struct {
	method, path string
	status       int
	location     string // of a redirect
}

// requireHostAnswers holds a router to what it does by itself, so that its
// reader knows where the contract's words cannot be expected.
func requireHostAnswers(t *testing.T, s site, answers ...hostAnswer) {
	t.Helper()
	for _, want := range answers {
		t.Run(want.method+" "+want.path, func(t *testing.T) {
			a := s.sendToHost(t, s.request(t, want.method, want.path, ""))
			require.Equal(t, want.status, a.status, a.text)
			require.Equal(t, want.location, a.header.Get("Location"))
			require.Empty(t, a.header.Get("X-Request-Id"), "the handler was asked")
		})
	}
}

// requireNotFound says that it is the handler that finds nothing at a path.
func requireNotFound(t *testing.T, s site, paths ...string) {
	t.Helper()
	for _, path := range paths {
		t.Run("GET "+path, func(t *testing.T) {
			s.get(t, path).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
		})
	}
}
