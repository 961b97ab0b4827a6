package routers_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// In gin, which does not set path values.
func Example_gin() {
	h := exampleHandler()

	r := gin.New()
	r.Use(ginLogin)
	r.Any("/billing/*path", gin.WrapH(http.StripPrefix("/billing", h)))
	r.GET("/api/:version/charges/:id", func(c *gin.Context) {
		c.Request.SetPathValue("version", c.Param("version"))
		c.Request.SetPathValue("id", c.Param("id"))
		h.GetEvent().ServeHTTP(c.Writer, c.Request)
	})

	demo(r)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

func ginLogin(c *gin.Context) {
	session, _ := c.Cookie(sessionCookie)
	if u, ok := userOf(session); ok {
		c.Set("user", u)
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), userKey{}, u))
	}
}

func ginPathValues(c *gin.Context) {
	for _, p := range c.Params {
		c.Request.SetPathValue(p.Key, p.Value)
	}
}

func ginHost(e endpoints, label func(string)) http.Handler {
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		label(c.FullPath())
	})
	r.Use(ginLogin, ginPathValues)
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
	s := serve(t, ginHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestGinLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, starterOf(ginHost),
		routeLabel{http.MethodGet, eventPath, "/billing/*path"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/*path"},
		routeLabel{http.MethodDelete, eventPath, "/billing/*path"},
		routeLabel{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		routeLabel{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

// Any registers nine methods only.
func TestGinOwnResponses(t *testing.T) {
	t.Parallel()
	s := serve(t, ginHost(endpointsOf(newHandler(t)), ignoreLabel))
	requireRouterResponses(t, s,
		routerResponse{http.MethodGet, prefix, http.StatusMovedPermanently, prefix + "/"},
		routerResponse{http.MethodPost, "/charges/", http.StatusTemporaryRedirect, "/charges"},
		routerResponse{http.MethodGet, "/charges/a%2Fb", http.StatusNotFound, ""},
		routerResponse{http.MethodDelete, "/charges", http.StatusNotFound, ""},
		routerResponse{http.MethodHead, "/charges", http.StatusNotFound, ""},
		routerResponse{"BREW", eventPath, http.StatusNotFound, ""},
	)
	requireNotFound(t, s, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", eventPath+"/%2F", eventPath+"/..%2Fx")
}

func TestGinUseRawPath(t *testing.T) {
	t.Parallel()
	h := newHandler(t)
	r := gin.New()
	r.UseRawPath = true
	r.Use(ginLogin, ginPathValues)
	r.Any(prefix+"/*path", gin.WrapH(http.StripPrefix(prefix, h)))
	r.GET("/charges/:id", gin.WrapH(h.GetEvent()))
	s := serve(t, r)
	requireContract(t, s)
	requireNotFound(t, s, "/charges/a%2Fb", eventPath+"/%2F")
}

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
