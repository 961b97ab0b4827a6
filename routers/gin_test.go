package routers_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// In gin, whose parameters become path values in the function that hands over.
// The login puts the user into the context of the request, where handlers find
// it that know nothing of gin.
func Example_gin() {
	h := exampleHandler()

	r := gin.New()
	r.Use(ginLogin)
	r.Any("/billing/*path", gin.WrapH(http.StripPrefix("/billing", h)))
	r.GET("/api/:version/charges/:id", func(c *gin.Context) {
		c.Request.SetPathValue("version", c.Param("version")) // gin does not
		c.Request.SetPathValue("id", c.Param("id"))
		h.GetEvent().ServeHTTP(c.Writer, c.Request)
	})

	tryOut(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// ginLogin is a login as gin's hosts have it: the user is a key of the context
// of gin, and of the request's for handlers that know nothing of gin.
func ginLogin(c *gin.Context) {
	session, _ := c.Cookie(sessionCookie)
	if u, ok := userOf(session); ok {
		c.Set("user", u)
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), userKey{}, u))
	}
}

// ginValues is what gin needs to say to the single endpoints: its parameters,
// as path values.
func ginValues(c *gin.Context) {
	for _, p := range c.Params {
		c.Request.SetPathValue(p.Key, p.Value)
	}
}

// ginHost mounts in a gin engine.
func ginHost(e endpoints, label func(string)) http.Handler {
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		label(c.FullPath())
	})
	r.Use(ginLogin, ginValues)
	r.Any(prefix+"/*path", gin.WrapH(http.StripPrefix(prefix, e.all)))
	for _, base := range []string{"/api/:version", ""} {
		r.POST(base+"/charges", gin.WrapH(e.one))
		r.GET(base+"/charges", gin.WrapH(e.list))
		r.Any(base+"/charges/:id", gin.WrapH(e.get))
		r.Any(base+"/batches", gin.WrapH(e.many))
	}
	return r
}

func TestGin(t *testing.T) {
	t.Parallel()
	s := serve(t, ginHost(endpointsOf(newHandler(t)), unlabelled))
	requireRules(t, s)
	requireEndpoints(t, s)
}

func TestGinKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, served(ginHost),
		labelled{http.MethodGet, eventPath, "/billing/*path"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/*path"},
		labelled{http.MethodDelete, eventPath, "/billing/*path"},
		labelled{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		labelled{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

// gin redirects between a path and the same with a slash at its end, and
// answers 404 where a pattern names another method, HEAD included. It looks at
// the path unescaped: an escaped slash is one like any other, unless the engine
// has UseRawPath. Its Any leaves out what is not one of nine methods.
func TestGinAnswersItself(t *testing.T) {
	t.Parallel()
	s := serve(t, ginHost(endpointsOf(newHandler(t)), unlabelled))
	requireHostAnswers(t, s,
		hostAnswer{http.MethodGet, prefix, http.StatusMovedPermanently, prefix + "/"},
		hostAnswer{http.MethodPost, "/charges/", http.StatusTemporaryRedirect, "/charges"},
		hostAnswer{http.MethodGet, "/charges/a%2Fb", http.StatusNotFound, ""},
		hostAnswer{http.MethodDelete, "/charges", http.StatusNotFound, ""},
		hostAnswer{http.MethodHead, "/charges", http.StatusNotFound, ""},
		hostAnswer{"BREW", eventPath, http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", eventPath+"/%2F", eventPath+"/..%2Fx")
}

func TestGinByRawPath(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	r := gin.New()
	r.UseRawPath = true
	r.Use(ginLogin, ginValues)
	r.Any(prefix+"/*path", gin.WrapH(http.StripPrefix(prefix, h)))
	r.GET("/charges/:id", gin.WrapH(h.GetEvent()))
	s := serve(t, r)
	requireRules(t, s)
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F")
}

// Without the path values the single endpoints do not see the version in gin's
// pattern: each is taken for 1. The same holds for gorilla/mux and fiber.
func TestGinWithoutPathValues(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	r := gin.New()
	r.Use(ginLogin)
	r.POST("/api/:version/charges", gin.WrapH(h.IngestEvent()))
	r.GET("/charges/:id", gin.WrapH(h.GetEvent()))
	s := serve(t, r)
	stored := s.post(t, "/api/v2/charges", event("", "1"))
	require.Equal(t, http.StatusCreated, stored.status, stored.text)
	requireNotFound(t, s, "/charges/"+stored.body["id"].(string))
}
