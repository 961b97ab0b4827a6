package routers_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// In fiber through its adaptor. The parameters become path values in the
// function that hands over.
func Example_fiber() {
	h := exampleHandler()

	app := fiber.New()
	app.Use(fiberLogin)
	app.All("/billing/*", adaptor.HTTPHandler(http.StripPrefix("/billing", h)))
	app.Get("/api/:version/charges/:id", func(c fiber.Ctx) error {
		return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("version", c.Params("version")) // fiber does not
			r.SetPathValue("id", c.Params("id"))
			h.GetEvent().ServeHTTP(w, r)
		})(c)
	})

	tryOutFiber(app)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

// fiberLogin is a login as fiber's hosts have it: the adaptor makes the Locals
// of fiber the values of the request's context.
func fiberLogin(c fiber.Ctx) error {
	if u, ok := userOf(c.Cookies(sessionCookie)); ok {
		c.Locals(userKey{}, u)
	}
	return c.Next()
}

// fiberValues mounts a single endpoint with what it needs to be told by fiber:
// its parameters, as path values.
func fiberValues(h http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range c.Route().Params {
				r.SetPathValue(name, c.Params(name))
			}
			h.ServeHTTP(w, r)
		})(c)
	}
}

// fiberApp mounts in a fiber app, whose own limit for bodies is above the
// handler's.
func fiberApp(e endpoints, label func(string)) *fiber.App {
	app := fiber.New(fiber.Config{BodyLimit: 2 * maxBody})
	app.Use(func(c fiber.Ctx) error {
		err := c.Next()
		label(c.Route().Path)
		return err
	})
	app.Use(fiberLogin)
	app.All(prefix+"/*", adaptor.HTTPHandler(http.StripPrefix(prefix, e.all)))
	for _, base := range []string{"/api/:version", ""} {
		app.Post(base+"/charges", fiberValues(e.one))
		app.Get(base+"/charges", fiberValues(e.list))
		app.All(base+"/charges/:id", fiberValues(e.get))
		app.All(base+"/batches", fiberValues(e.many))
	}
	return app
}

// serveFiber serves an app on loopback, at the root that it returns, until stop
// is called.
func serveFiber(app *fiber.App) (root string, stop func() error, err error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true}) }()
	stop = func() error { return errors.Join(app.Shutdown(), <-served) }
	return "http://" + l.Addr().String(), stop, nil
}

func tryOutFiber(app *fiber.App) {
	root, stop, err := serveFiber(app)
	if err != nil {
		panic(err)
	}
	tryOutAt(root)
	if err := stop(); err != nil {
		panic(err)
	}
}

// fiberHost is a host with the app.
func fiberHost(t *testing.T, e endpoints, label func(string)) site {
	t.Helper()
	return fiberSite(t, fiberApp(e, label))
}

func fiberSite(t *testing.T, app *fiber.App) site {
	t.Helper()
	root, stop, err := serveFiber(app)
	require.NoError(t, err)
	client := plainClient(&http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()})
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, stop())
	})
	return site{client: client, root: root, proto: 1, buffers: true}
}

func TestFiber(t *testing.T) {
	t.Parallel()
	s := fiberHost(t, endpointsOf(newHandler(t)), unlabelled)
	requireRules(t, s)
	requireEndpoints(t, s)
}

func TestFiberKeepsItsLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, fiberHost,
		labelled{http.MethodGet, eventPath, "/billing/*"},
		labelled{http.MethodGet, prefix + "/nothing", "/billing/*"},
		labelled{http.MethodDelete, eventPath, "/billing/*"},
		labelled{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		labelled{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		labelled{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

// fiber redirects and cleans nothing, serves HEAD where GET is registered, and
// answers 405 in its own words where a pattern names another method. It matches
// in any case of letters, but then http.StripPrefix finds no prefix.
func TestFiberAnswersItself(t *testing.T) {
	t.Parallel()
	s := fiberHost(t, endpointsOf(newHandler(t)), unlabelled)
	requireHostAnswers(t, s,
		hostAnswer{http.MethodGet, "/Billing/v1/ingest/charge-data", http.StatusNotFound, ""},
		hostAnswer{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		hostAnswer{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		hostAnswer{"BREW", eventPath, http.StatusNotImplemented, ""},
	)
	requireNotFound(t, s, prefix, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
	require.Equal(t, http.StatusOK, s.do(t, http.MethodHead, "/charges", "").status)
}

// A body is read before anybody is asked who is sending it. One above fiber's
// own limit, 4 MiB where BodyLimit says nothing else, is answered by fiber. It
// does not read what is left of it then, so that a client that is still writing
// may find the connection reset instead.
func TestFiberReadsABodyBeforeTheLogin(t *testing.T) {
	t.Parallel()
	s := fiberHost(t, endpointsOf(newHandler(t)), unlabelled)
	body := newUnfinishedBody(0)
	defer body.Close()
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), "-Cookie")
	r.ContentLength, r.Body = 2*maxBody+1, body
	a := s.sendToHost(t, r)
	require.Equal(t, http.StatusRequestEntityTooLarge, a.status)
	require.Empty(t, a.header.Get("X-Request-Id"), "the handler was asked")
}

// A header that is sent twice arrives twice, and not as its last value alone,
// from fasthttp 1.78 on. Of Content-Type it is the last still.
func TestFiberHandsAllHeadersOver(t *testing.T) {
	t.Parallel()
	s := fiberHost(t, endpointsOf(newHandler(t)), unlabelled)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.Header["X-Platform-Id"] = []string{"pf_b", "pf_a"}
	s.send(t, r).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")

	r = s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.Header["Content-Type"] = []string{"text/plain", "application/json"}
	require.Equal(t, http.StatusCreated, s.send(t, r).status)
}

// http.ErrAbortHandler cuts the connection, and nothing else falls with it, from
// fasthttp 1.78 on.
func TestFiberCutsTheConnectionOfAnAbort(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(c *chargeingest.Config) {
		c.Authorizer = chargeingest.AuthorizerFunc(func(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
			if r.Header.Get("X-Abort") != "" {
				panic(http.ErrAbortHandler)
			}
			return fromLogin(r, perm)
		})
	})
	s := fiberHost(t, endpointsOf(h), unlabelled)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), "X-Abort: yes")
	require.Error(t, s.sendInVain(t, r))
	require.Equal(t, http.StatusOK, s.get(t, eventPath).status)
}

// What fiber's middleware has put into its context, as that for traces does, is
// handed over by HTTPHandlerWithContext.
func TestFiberHandsItsContextOver(t *testing.T) {
	t.Parallel()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	seen, observed := make(chan trace.SpanContext, 1), make(chan trace.SpanContext, 1)
	h := newHandler(t, func(c *chargeingest.Config) {
		c.Store = &tracingStore{memstore.New(), seen}
		c.Observer = func(ctx context.Context, _ chargeingest.RequestStats) { observed <- trace.SpanContextFromContext(ctx) }
	})
	app := fiber.New()
	app.Use(func(c fiber.Ctx) error {
		u, _ := userOf(c.Cookies(sessionCookie))
		c.SetContext(trace.ContextWithSpanContext(context.WithValue(c.Context(), userKey{}, u), span))
		return c.Next()
	})
	app.All(prefix+"/*", adaptor.HTTPHandlerWithContext(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, _ := adaptor.LocalContextFromHTTPRequest(r)
		http.StripPrefix(prefix, h).ServeHTTP(w, r.WithContext(ctx))
	})))
	s := fiberSite(t, app)
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, event("", "1")).status)
	require.Equal(t, span, <-seen)
	require.Equal(t, span, <-observed)
}
