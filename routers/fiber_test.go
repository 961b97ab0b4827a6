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

// In fiber, which does not set path values.
func Example_fiber() {
	h := exampleHandler()

	app := fiber.New()
	app.Use(fiberLogin)
	app.All("/billing/*", adaptor.HTTPHandler(http.StripPrefix("/billing", h)))
	app.Get("/api/:version/charges/:id", func(c fiber.Ctx) error {
		return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.SetPathValue("version", c.Params("version"))
			r.SetPathValue("id", c.Params("id"))
			h.GetEvent().ServeHTTP(w, r)
		})(c)
	})

	demoFiber(app)
	// Output:
	// 201 Created
	// 200 OK
	// 400 Bad Request
}

func fiberLogin(c fiber.Ctx) error {
	if u, ok := userOf(c.Cookies(sessionCookie)); ok {
		c.Locals(userKey{}, u)
	}
	return c.Next()
}

func fiberPathValues(h http.Handler) fiber.Handler {
	return func(c fiber.Ctx) error {
		return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range c.Route().Params {
				r.SetPathValue(name, c.Params(name))
			}
			h.ServeHTTP(w, r)
		})(c)
	}
}

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
		app.Post(base+"/charges", fiberPathValues(e.one))
		app.Get(base+"/charges", fiberPathValues(e.list))
		app.All(base+"/charges/:id", fiberPathValues(e.get))
		app.All(base+"/batches", fiberPathValues(e.many))
	}
	return app
}

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

func demoFiber(app *fiber.App) {
	root, stop, err := serveFiber(app)
	if err != nil {
		panic(err)
	}
	demoAt(root)
	if err := stop(); err != nil {
		panic(err)
	}
}

func startFiberHost(t *testing.T, e endpoints, label func(string)) server {
	t.Helper()
	return startFiber(t, fiberApp(e, label))
}

func startFiber(t *testing.T, app *fiber.App) server {
	t.Helper()
	root, stop, err := serveFiber(app)
	require.NoError(t, err)
	client := plainClient(&http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()})
	t.Cleanup(func() {
		client.CloseIdleConnections()
		require.NoError(t, stop())
	})
	return server{client: client, root: root, proto: 1, buffers: true}
}

func TestFiber(t *testing.T) {
	t.Parallel()
	s := startFiberHost(t, endpointsOf(newHandler(t)), ignoreLabel)
	requireContract(t, s)
	requireEndpoints(t, s)
}

func TestFiberLabels(t *testing.T) {
	t.Parallel()
	requireLabels(t, startFiberHost,
		routeLabel{http.MethodGet, eventPath, "/billing/*"},
		routeLabel{http.MethodGet, prefix + "/nothing", "/billing/*"},
		routeLabel{http.MethodDelete, eventPath, "/billing/*"},
		routeLabel{http.MethodPost, "/api/v1/charges", "/api/:version/charges"},
		routeLabel{http.MethodGet, "/api/v2/charges/x", "/api/:version/charges/:id"},
		routeLabel{http.MethodHead, "/charges/x", "/charges/:id"},
	)
}

// fiber ignores the case of paths, but http.StripPrefix does not.
func TestFiberOwnResponses(t *testing.T) {
	t.Parallel()
	s := startFiberHost(t, endpointsOf(newHandler(t)), ignoreLabel)
	requireRouterResponses(t, s,
		routerResponse{http.MethodGet, "/Billing/v1/ingest/charge-data", http.StatusNotFound, ""},
		routerResponse{http.MethodDelete, "/charges", http.StatusMethodNotAllowed, ""},
		routerResponse{http.MethodGet, "/charges/a/b", http.StatusNotFound, ""},
		routerResponse{"BREW", eventPath, http.StatusNotImplemented, ""},
	)
	requireNotFound(t, s, prefix, prefix+"/v1/../v1/ingest/charge-data", prefix+"//v1/ingest/charge-data", "/charges/a%2Fb", eventPath+"/%2F", eventPath+"/..%2Fx")
	require.Equal(t, http.StatusOK, s.do(t, http.MethodHead, "/charges", "").status)
}

// The body is only announced: fiber resets the connection of a client that writes more.
func TestFiberReadsBodyBeforeLogin(t *testing.T) {
	t.Parallel()
	s := startFiberHost(t, endpointsOf(newHandler(t)), ignoreLabel)
	body := newUnfinishedBody(0)
	defer body.Close()
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), "-Cookie")
	r.ContentLength, r.Body = 2*maxBody+1, body
	got := s.sendAny(t, r)
	require.Equal(t, http.StatusRequestEntityTooLarge, got.status)
	require.Empty(t, got.header.Get("X-Request-Id"), "the handler responded")
}

// fasthttp before 1.78 keeps only the last value.
func TestFiberRepeatedHeaders(t *testing.T) {
	t.Parallel()
	s := startFiberHost(t, endpointsOf(newHandler(t)), ignoreLabel)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.Header["X-Platform-Id"] = []string{"pf_b", "pf_a"}
	s.send(t, r).requireError(t, http.StatusForbidden, "USER_NOT_ALLOWED")

	r = s.request(t, http.MethodPost, eventPath, event("", "1"))
	r.Header["Content-Type"] = []string{"text/plain", "application/json"}
	require.Equal(t, http.StatusCreated, s.send(t, r).status)
}

// fasthttp before 1.78 crashes the process.
func TestFiberAbortHandler(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(c *chargeingest.Config) {
		c.Authorizer = chargeingest.AuthorizerFunc(func(r *http.Request, perm chargeingest.Permission) (chargeingest.Principal, error) {
			if r.Header.Get("X-Abort") != "" {
				panic(http.ErrAbortHandler)
			}
			return authorizeUser(r, perm)
		})
	})
	s := startFiberHost(t, endpointsOf(h), ignoreLabel)
	r := s.request(t, http.MethodPost, eventPath, event("", "1"), "X-Abort: yes")
	require.Error(t, s.sendExpectingError(t, r))
	require.Equal(t, http.StatusOK, s.get(t, eventPath).status)
}

func TestFiberContext(t *testing.T) {
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
	s := startFiber(t, app)
	require.Equal(t, http.StatusCreated, s.post(t, eventPath, event("", "1")).status)
	require.Equal(t, span, <-seen)
	require.Equal(t, span, <-observed)
}
