package routers_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"
)

// In echo, whose WrapHandler makes path values of its parameters. The login
// puts the user into the context of the request, where handlers find it that
// know nothing of echo.
func Example_echo() {
	h := exampleHandler()

	e := echo.New()
	e.Use(echoLogin)
	e.Any("/billing/*", echo.WrapHandler(http.StripPrefix("/billing", h)))
	e.GET("/api/:version/charges/:id", echo.WrapHandler(h.GetEvent()))

	tryOut(e)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// echoLogin is a login as echo's hosts have it: the user is a key of the
// context of echo, and of the request's for handlers that know nothing of echo.
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

// echoHost mounts in an echo instance. echo.WrapHandler sets the path values.
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
	s := serve(t, echoHost(endpointsOf(newHandler(t)), unlabelled))
	requireRules(t, s)
	requireEndpoints(t, s)
}

func TestEchoKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, served(echoHost),
		labelled{http.MethodGet, eventPath, "/billing/*"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/*"},
		labelled{http.MethodDelete, eventPath, "/billing/*"},
		labelled{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		labelled{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

// echo redirects and cleans nothing. Where a pattern names a method it answers
// another, HEAD included, with a 405 of its own. A parameter at the end of a
// pattern takes all that is left of the path, slashes and all.
func TestEchoAnswersItself(t *testing.T) {
	t.Parallel()
	s := serve(t, echoHost(endpointsOf(newHandler(t)), unlabelled))
	requireHostAnswers(t, s,
		hostAnswer{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodHead, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodGet, prefix, http.StatusNotFound, ""},
		hostAnswer{http.MethodGet, "//billing/v1/ingest/charge-data", http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", "/charges/a/b", eventPath+"/%2F", eventPath+"/..%2Fx")
	s.do(t, "BREW", eventPath, "").requireError(t, http.StatusMethodNotAllowed, "INVALID_OPERATION")
}
