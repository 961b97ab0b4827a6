package routers_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
)

// echo4Host sets path values, which WrapHandler of version 4 does not.
func echo4Host(e endpoints, label func(string)) http.Handler {
	r := echo.New()
	r.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			err := next(c)
			label(c.Path())
			return err
		}
	}, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if cookie, err := c.Cookie(sessionCookie); err == nil {
				if u, ok := userOf(cookie.Value); ok {
					c.SetRequest(c.Request().WithContext(context.WithValue(c.Request().Context(), userKey{}, u)))
				}
			}
			for _, name := range c.ParamNames() {
				c.Request().SetPathValue(name, c.Param(name))
			}
			return next(c)
		}
	})
	r.Any(prefix+"/*", echo.WrapHandler(http.StripPrefix(prefix, e.all)))
	for _, base := range []string{"/api/:version", ""} {
		r.POST(base+"/charges", echo.WrapHandler(e.one))
		r.GET(base+"/charges", echo.WrapHandler(e.list))
		r.Any(base+"/charges/:id", echo.WrapHandler(e.get))
		r.Any(base+"/batches", echo.WrapHandler(e.many))
	}
	return r
}

func TestEcho4(t *testing.T) {
	t.Parallel()
	s := serve(t, echo4Host(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestEcho4Labels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(echo4Host),
		routeLabel{http.MethodGet, eventPath, "/billing/*"},
		routeLabel{http.MethodDelete, eventPath, "/billing/*"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
	)
}
