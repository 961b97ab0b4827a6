package routers_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	m.Run()
}

const prefix = "/billing"

const maxBody = 512 << 10

type user struct {
	name      string
	platforms []string
	may       []chargeingest.Permission
}

type userKey struct{}

const sessionCookie = "session"

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

func authorizeUser(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
	u, ok := r.Context().Value(userKey{}).(user)
	if !ok {
		return chargeingest.Principal{}, chargeingest.ErrNoCredential
	}
	if !slices.Contains(u.may, perm) {
		return chargeingest.Principal{}, chargeingest.ErrForbidden
	}
	return chargeingest.Principal{Subject: u.name, Platforms: u.platforms}, nil
}

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

func exampleHandler() *chargeingest.Handler {
	h, err := chargeingest.New(chargeingest.Config{
		Store: memstore.New(), Authorizer: chargeingest.AuthorizerFunc(authorizeUser), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return h
}

func newHandler(tb testing.TB, settings ...func(*chargeingest.Config)) *chargeingest.Handler {
	tb.Helper()
	cfg := chargeingest.Config{
		Store: memstore.New(), Authorizer: chargeingest.AuthorizerFunc(authorizeUser),
		MaxBodyBytes: maxBody, Logger: slog.New(slog.DiscardHandler),
	}
	for _, set := range settings {
		set(&cfg)
	}
	h, err := chargeingest.New(cfg)
	require.NoError(tb, err)
	return h
}

type endpoints struct{ all, one, many, list, get http.Handler }

func endpointsOf(h *chargeingest.Handler) endpoints {
	return endpoints{all: h, one: h.IngestEvent(), many: h.IngestEvents(), list: h.ListEvents(), get: h.GetEvent()}
}

func otherHandlers() endpoints {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return endpoints{h, h, h, h, h}
}

// serverStarter starts a server, and calls label with the router's label after each
// request:
//
//	/billing/…                         the handler
//	/api/{version}/charges             POST one event, GET the list
//	/api/{version}/charges/{id}        GET
//	/api/{version}/batches             POST many events
//	/charges, /charges/{id}, /batches  the same without a version
type serverStarter func(t *testing.T, e endpoints, label func(string)) server

func ignoreLabel(string) {}

type server struct {
	client  *http.Client
	root    string // without the prefix
	proto   int    // major version of HTTP
	buffers bool   // the server reads bodies before it calls the handler
}

func starterOf(router func(endpoints, func(string)) http.Handler) serverStarter {
	return func(t *testing.T, e endpoints, label func(string)) server { return serve(t, router(e, label)) }
}

func serve(t *testing.T, h http.Handler) server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return server{client: plainClient(srv.Client()), root: srv.URL, proto: 1}
}
