package routers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode) // it would print each route
	m.Run()
}

// prefix is where each host mounts the handler.
const prefix = "/billing"

// maxBody is the handler's limit for a body in these tests.
const maxBody = 512 << 10

// user is who a host's login has found out to be asking.
type user struct {
	name      string
	platforms []string
	may       []chargeingest.Permission
}

type userKey struct{}

// sessionCookie is what the hosts know their users by.
const sessionCookie = "session"

// userOf looks a session up, as each host's login does in its own way.
func userOf(session string) (user, bool) {
	const ingest, view = chargeingest.PermissionIngest, chargeingest.PermissionView
	switch session {
	case "ada":
		return user{"ada", []string{"pf_a", "pf_b"}, []chargeingest.Permission{ingest, view}}, true
	case "vic":
		return user{"vic", []string{"pf_a"}, []chargeingest.Permission{view}}, true
	}
	return user{}, false
}

// fromLogin is the hosts' Authorizer: it reads what their login has put into
// the request's context.
func fromLogin(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
	u, ok := r.Context().Value(userKey{}).(user)
	if !ok {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	if !slices.Contains(u.may, perm) {
		return chargeingest.Principal{}, chargeingest.ErrForbidden
	}
	return chargeingest.Principal{Subject: u.name, Platforms: u.platforms}, nil
}

// login is the login middleware of a host that is made of http.Handlers. Who
// is not known goes on unknown: the Authorizer refuses them in the contract's
// words.
func login(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(sessionCookie); err == nil {
			if u, ok := userOf(c.Value); ok {
				r = r.WithContext(context.WithValue(r.Context(), userKey{}, u))
			}
		}
		next.ServeHTTP(w, r)
	})
}

// exampleHandler is the handler that the Examples mount.
func exampleHandler() *chargeingest.Handler {
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: chargeingest.AuthorizerFunc(fromLogin), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return h
}

// newHandler returns a handler over a memstore for the hosts' users.
func newHandler(tb testing.TB, settings ...func(*chargeingest.Config)) *chargeingest.Handler {
	tb.Helper()
	cfg := chargeingest.Config{
		Store: memstore.New(), Authorizer: chargeingest.AuthorizerFunc(fromLogin),
		MaxBodyBytes: maxBody, Logger: slog.New(slog.DiscardHandler),
	}
	for _, set := range settings {
		set(&cfg)
	}
	h, err := chargeingest.New(cfg)
	require.NoError(tb, err)
	return h
}

// endpoints are what a host mounts: the handler, and the four one by one.
type endpoints struct{ all, one, many, list, get http.Handler }

func endpointsOf(h *chargeingest.Handler) endpoints {
	return endpoints{all: h, one: h.IngestEvent(), many: h.IngestEvents(), list: h.ListEvents(), get: h.GetEvent()}
}

// foreign are handlers of somebody else, to see what a host does to any.
func foreign() endpoints {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return endpoints{h, h, h, h, h}
}

// host starts a server whose router has the endpoints mounted, in all the ways
// that are tested:
//
//	/billing/…                         the handler
//	/api/{version}/charges             POST one event, GET the list
//	/api/{version}/charges/{id}        GET
//	/api/{version}/batches             POST many events
//	/charges, /charges/{id}, /batches  the same without a version
//
// After each request it tells label what its router's metrics call the route.
type host func(t *testing.T, e endpoints, label func(string)) site

// unlabelled is for tests that do not look at labels.
func unlabelled(string) {}

// site is where a handler is mounted, as a client sees it.
type site struct {
	client  *http.Client
	root    string // URL of the host, without the prefix
	proto   int    // major version of HTTP that every answer must have
	buffers bool   // the host reads bodies before it asks a handler
}

// served makes a host of a router that is an http.Handler.
func served(router func(endpoints, func(string)) http.Handler) host {
	return func(t *testing.T, e endpoints, label func(string)) site { return serve(t, router(e, label)) }
}

// serve starts a server on loopback.
func serve(t *testing.T, h http.Handler) site {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return site{client: plainClient(srv.Client()), root: srv.URL, proto: 1}
}

// plainClient makes a client show what it is answered: it follows no redirects,
// and a body that the server has not asked for stays unsent.
func plainClient(c *http.Client) *http.Client {
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	return c
}
