package routers_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"
)

// In echo. WrapHandler sets the path values.
func Example_echo() {
	h := exampleHandler()

	e := echo.New()
	e.Use(echoLogin)
	e.Any("/billing/*", echo.WrapHandler(http.StripPrefix("/billing", h)))
	e.GET("/api/:version/charges/:id", echo.WrapHandler(h.GetEvent()))

	demo(e)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

func echoLogin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		if cookie, err := c.Cookie(sessionCookie); err == nil {
			if u, ok := userOf(cookie.Value); ok {
				c.Set("user", u)
				c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), userKey{}, u)))
			}
		}
		return next(c)
	}
}

func echoHost(e endpoints, label func(string)) http.Handler {
	r := echo.New()
	r.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			err := next(c)
			label(c.Path())
			return err
		}
	})
	r.Use(echoLogin)
	r.Any(prefix+"/*", echo.WrapHandler(http.StripPrefix(prefix, e.all)))
	for _, base := range []string{"/api/:version", ""} {
		r.POST(base+"/charges", echo.WrapHandler(e.one))
		r.GET(base+"/charges", echo.WrapHandler(e.list))
		r.Any(base+"/charges/:id", echo.WrapHandler(e.get))
		r.Any(base+"/batches", echo.WrapHandler(e.many))
	}
	return r
}

func TestEcho(t *testing.T) {
	t.Parallel()
	s := serve(t, echoHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestEchoLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(echoHost),
		routeLabel{http.MethodGet, eventPath, "/billing/*"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/*"},
		routeLabel{http.MethodDelete, eventPath, "/billing/*"},
		routeLabel{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		routeLabel{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

func TestEchoOwnResponses(t *testing.T) {
	t.Parallel()
	s := serve(t, echoHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireRouterResponses(t, s,
		routerResponse{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodGet, prefix, http.StatusNotFound, ""},
		routerResponse{http.MethodGet, "//billing/v1/ingest/charge-data", http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", "/charges/a/b", eventPath+"/%2F", eventPath+"/..%2Fx")
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
}
