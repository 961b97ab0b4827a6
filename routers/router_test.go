package routers_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

type routeLabel struct{ method, path, label string }

func requireLabels(t *testing.T, start serverStarter, requests ...routeLabel) {
	t.Helper()
	for name, e := range map[string]endpoints{"the handler": endpointsOf(newHandler(t)), "another handler": otherHandlers()} {
		t.Run("with "+name, func(t *testing.T) {
			labels := make(chan string, 1)
			s := start(t, e, func(label string) { labels <- label })
			for _, r := range requests {
				s.sendAny(t, s.request(t, r.method, r.path, ""))
				require.Equal(t, r.label, <-labels, "%s %s", r.method, r.path)
			}
		})
	}
}

type routerResponse struct {
	method, path string
	status       int
	location     string // of a redirect
}

func requireRouterResponses(t *testing.T, s server, responses ...routerResponse) {
	t.Helper()
	for _, want := range responses {
		t.Run(want.method+" "+want.path, func(t *testing.T) {
			r := s.sendAny(t, s.request(t, want.method, want.path, ""))
			require.Equal(t, want.status, r.status, r.text)
			require.Equal(t, want.location, r.header.Get("Location"))
			require.Empty(t, r.header.Get("X-Request-Id"), "the handler responded")
		})
	}
}

func requireNotFound(t *testing.T, s server, paths ...string) {
	t.Helper()
	for _, path := range paths {
		t.Run("GET "+path, func(t *testing.T) {
			s.get(t, path).requireError(t, http.StatusNotFound, "RESOURCE_NOT_FOUND")
		})
	}
}
