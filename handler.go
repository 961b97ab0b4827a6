package chargeingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/redact"
	"example.com/chargeingest/internal/schemacheck"
)

// Config is what a [Handler] is made of. Store and Authorizer are required;
// the zero value of everything else is a default that suits most services.
type Config struct {
	// Store keeps the events. Where it is an EventReader too, the GET routes
	// are served.
	Store EventStore

	// Authorizer decides who may do what. There is no permissive default.
	Authorizer Authorizer

	// Logger gets one line per request: failures at Error, refusals at Info, successes
	// at Debug. Default: slog.Default(), which drops those at Debug.
	Logger *slog.Logger

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// RequestID makes the id of a request that came without a valid one: 1 to
	// 128 visible ASCII characters, unique. The default takes the place of one
	// that is not valid. Default: "reqr_" and 26 random characters.
	RequestID func() string

	// MaxBodyBytes bounds one body, decompressed. Default: 4 MiB.
	MaxBodyBytes int64

	// MaxBatchEvents bounds the events of one request. Default: 1,000.
	MaxBatchEvents int

	// MaxInFlightBytes bounds the bodies and the events in the responses of all
	// requests that are being handled; a request beyond it gets a 503. A body
	// counts as it arrives: at most twice what has arrived, decompressed, and 72 KiB
	// more. One platform gets at most seven eighths of it. A request that is alone
	// is never refused. Default: 64 MiB, or MaxBodyBytes if that is more.
	MaxInFlightBytes int64

	// MaxDiscardBytes and MaxDiscardTime bound what is read and dropped of a body
	// after a response that did not need it, such as a 401 or a 413, over HTTP/1.1.
	// Clients that read the response only once they have sent all get it if the
	// rest of the body is within both. The connection is closed afterwards.
	// Middleware sees the request end only then; its RequestStats does not have this
	// time. Defaults: 16 MiB, 5 s.
	MaxDiscardBytes int64
	MaxDiscardTime  time.Duration

	// KeepUnknownFields stores and returns fields that the contract does not name,
	// as they were sent. By default they are refused with 400: a mistyped reference
	// would otherwise cost its sender the protection against double billing.
	KeepUnknownFields bool

	// Duplicates says what a known reference with other content gets.
	// Default: RejectConflict.
	Duplicates DuplicatePolicy

	// MaxFutureSkew is how far ahead of its receipt an event's timestamp may
	// be. Default: 0, no bound.
	MaxFutureSkew time.Duration

	// RequireReference rejects events without a reference, so that no sender
	// can bill twice by sending twice. Default: false.
	RequireReference bool

	// Observer, if set, is called once after each request, on its goroutine.
	Observer func(context.Context, RequestStats)
}

// withDefaults returns the configuration with its defaults in place, or an
// error that names the field that is wrong.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Store == nil:
		return c, errors.New("chargeingest: Config.Store is required")
	case c.Authorizer == nil:
		return c, errors.New("chargeingest: Config.Authorizer is required")
	case c.MaxBodyBytes < 0:
		return c, errors.New("chargeingest: Config.MaxBodyBytes is negative")
	case c.MaxBatchEvents < 0:
		return c, errors.New("chargeingest: Config.MaxBatchEvents is negative")
	case c.MaxInFlightBytes < 0:
		return c, errors.New("chargeingest: Config.MaxInFlightBytes is negative")
	case c.MaxDiscardBytes < 0:
		return c, errors.New("chargeingest: Config.MaxDiscardBytes is negative")
	case c.MaxDiscardTime < 0:
		return c, errors.New("chargeingest: Config.MaxDiscardTime is negative")
	case c.MaxFutureSkew < 0:
		return c, errors.New("chargeingest: Config.MaxFutureSkew is negative")
	case c.Duplicates != RejectConflict && c.Duplicates != ReturnOriginal:
		return c, fmt.Errorf("chargeingest: Config.Duplicates is none of its constants: %d", c.Duplicates)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.RequestID == nil {
		c.RequestID = randomRequestID
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 4 << 20
	}
	if c.MaxBatchEvents == 0 {
		c.MaxBatchEvents = 1000
	}
	if c.MaxDiscardBytes == 0 {
		c.MaxDiscardBytes = 16 << 20
	}
	if c.MaxDiscardTime == 0 {
		c.MaxDiscardTime = 5 * time.Second
	}
	if c.MaxInFlightBytes == 0 {
		c.MaxInFlightBytes = max(64<<20, c.MaxBodyBytes)
	}
	if c.MaxInFlightBytes < c.MaxBodyBytes {
		return c, errors.New("chargeingest: Config.MaxInFlightBytes is less than MaxBodyBytes")
	}
	return c, nil
}

// ingestTimeout bounds how long a request that was read waits to be stored.
const ingestTimeout = 30 * time.Second

// Handler takes charge events in over HTTP. It serves
//
//	POST /v1/ingest/charge-data
//	POST /v1/ingest/charge-datas
//	GET  /v1/ingest/charge-data
//	GET  /v1/ingest/charge-data/{id}
//
// below whatever prefix its host strips (http.StripPrefix). The four endpoints
// are also there one by one, for paths of the host's own choosing.
//
// The http.Server around it sets the timeouts of requests and MaxHeaderBytes. The
// handler bounds what waits for a client within them, if the ResponseWriter supports
// [http.ResponseController]:
//   - A client has 2 seconds to accept a response of up to 32 KiB. For each 32 KiB of a
//     larger one it has 10 seconds, and one more for each 32 KiB of the last 4 MiB
//     before it, which the operating system may have buffered.
//   - Once [http.Server.Shutdown] is called, a body has a second to arrive; the response
//     is a 503 otherwise. It registers a function with [http.Server.RegisterOnShutdown].
//   - What a response left unread of a body is discarded: see [Config].
type Handler struct {
	cfg       Config
	reader    EventReader // nil where the store is none
	endpoints endpoints
	validator *validator
	inFlight  *limits.Budget
	buffers   bodyBuffers
	deadlines limits.Deadlines
	hosts     hosts
}

// New returns a handler, or an error that names the field of cfg that is wrong.
func New(cfg Config) (*Handler, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v, err := newValidator(cfg.MaxBatchEvents, cfg.KeepUnknownFields,
		schemacheck.CrossRules{MaxFutureSkew: cfg.MaxFutureSkew, RequireReference: cfg.RequireReference})
	if err != nil {
		return nil, fmt.Errorf("chargeingest: %w", err)
	}
	h := &Handler{cfg: cfg, validator: v, inFlight: limits.NewBudget(cfg.MaxInFlightBytes), deadlines: limits.Deadlines{Timeout: ingestTimeout}}
	h.reader, _ = cfg.Store.(EventReader)
	h.endpoints = newEndpoints(h.reader != nil)
	return h, nil
}

// endpoint is one of the four: what it takes and how it answers.
type endpoint struct {
	route      Route
	method     string
	permission Permission
	serve      func(*Handler, *exchange) error
}

func (e *endpoint) allows(method string) bool {
	return method == e.method || e.method == http.MethodGet && method == http.MethodHead
}

// endpoints are the four, by the name that a path has for them. A name without
// endpoints leads nowhere.
type endpoints struct {
	ingestEvent, ingestEvents, getEvent, listEvents *endpoint

	event, batch, byID []*endpoint
}

func newEndpoints(readable bool) endpoints {
	e := endpoints{
		ingestEvent:  &endpoint{RouteSingle, http.MethodPost, PermissionIngest, (*Handler).serveIngest},
		ingestEvents: &endpoint{RouteBatch, http.MethodPost, PermissionIngest, (*Handler).serveIngest},
		getEvent:     &endpoint{RouteGet, http.MethodGet, PermissionView, (*Handler).serveGet},
		listEvents:   &endpoint{RouteList, http.MethodGet, PermissionView, (*Handler).serveList},
	}
	e.event, e.batch = []*endpoint{e.ingestEvent}, []*endpoint{e.ingestEvents}
	if readable {
		e.event, e.byID = append(e.event, e.listEvents), []*endpoint{e.getEvent}
	}
	return e
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.exchange(w, r, func(x *exchange) error {
		version, id, endpoints := h.route(r.URL)
		if endpoints == nil {
			return newError(CodeResourceNotFound, "there is nothing at this path; the endpoints are "+
				"/v1/ingest/charge-data, /v1/ingest/charge-data/{id} and /v1/ingest/charge-datas")
		}
		x.id = id
		if version == "" {
			return newError(CodeMissingVersion, "the path names no version; it starts with /v1/")
		}
		return h.serve(x, version, endpoints...)
	})
}

// route finds what a path leads to: the version, empty where there is none,
// the id of the event that is asked for, and the endpoints, by method.
func (h *Handler) route(u *url.URL) (version, id string, endpoints []*endpoint) {
	first, rest := cutPart(u.EscapedPath())
	if v, ok := strings.CutPrefix(first, "v"); ok {
		version = v
		first, rest = cutPart(rest)
	}
	if first != "ingest" {
		return "", "", nil
	}
	name, rest := cutPart(rest)
	switch {
	case name == "charge-data" && rest == "":
		return version, "", h.endpoints.event
	case name == "charge-datas" && rest == "":
		return version, "", h.endpoints.batch
	case name == "charge-data":
		if id, rest = cutPart(rest); id != "" && rest == "" {
			return version, id, h.endpoints.byID
		}
	}
	return "", "", nil
}

// cutPart cuts the first part off a path that is escaped, and unescapes it. The
// rest is empty behind the last part, and otherwise starts with a slash.
func cutPart(path string) (part, rest string) {
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		path, rest = path[:i], path[i:]
	}
	// An escaped path is well-formed, and a slash within a part stays in it.
	part, _ = url.PathUnescape(path)
	return part, rest
}

// serve runs the checks that come before the endpoint's own: version, method,
// authorization.
func (h *Handler) serve(x *exchange, version string, endpoints ...*endpoint) error {
	if version != "1" {
		return newError(CodeUnsupportedVersion, "version "+limits.Shorten(version)+" is not supported; the only version is 1")
	}
	var allowed []string
	for _, e := range endpoints {
		if e.allows(x.r.Method) {
			x.route = e.route
			if err := h.authorize(x, e.permission); err != nil {
				return err
			}
			return e.serve(h, x)
		}
		allowed = append(allowed, e.method)
		if e.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	x.header().Set("Allow", strings.Join(allowed, ", "))
	return newError(CodeInvalidOperation, "method "+limits.Shorten(x.r.Method)+" is not allowed here; allowed are "+strings.Join(allowed, " and "))
}

// authorize finds out who is asking and for which platform.
func (h *Handler) authorize(x *exchange, perm Permission) error {
	var principal Principal
	err := errCredentialTooLong
	if !redact.HasLongCredential(x.r.Header) {
		principal, err = h.cfg.Authorizer.Authorize(x.r, perm)
		x.subject = principal.Subject // for the log, also of a rejected request
	}
	if err == nil {
		x.platform, err = principal.platform(x.r.Header.Values("X-Platform-Id"))
		if err != nil && !errors.Is(err, ErrForbidden) {
			return internalError(err)
		}
	}
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoCredential):
		e = newError(CodeUnauthorised, "credentials are missing, or of a kind that is not accepted here; unless you were told otherwise, send an X-API-KEY header or an Authorization header with a Bearer token")
		x.header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, ErrInvalidCredential):
		e = newError(CodeUnauthorised, "the credentials do not verify")
		x.header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, ErrForbidden):
		e = newError(CodeUserNotAllowed, "this needs the permission "+string(perm)+" on the platform that is asked for")
	default:
		e = unavailableError("the credentials cannot be checked at the moment; nothing was stored", nil)
		var timed interface{ RetryAfter() time.Duration }
		if errors.As(err, &timed) {
			e.RetryAfter = max(e.RetryAfter, timed.RetryAfter())
		}
	}
	e.cause = err
	return e
}

// IngestEvent is the endpoint that takes one event in, POST, for mounting on a
// path of the host's own. Where the pattern has a {version}, it must be 1 (or
// v1, as http.ServeMux cannot cut the letter off).
func (h *Handler) IngestEvent() http.Handler { return h.single(h.endpoints.ingestEvent) }

// IngestEvents is the endpoint that takes a batch in, see [Handler.IngestEvent].
func (h *Handler) IngestEvents() http.Handler { return h.single(h.endpoints.ingestEvents) }

// ListEvents is the endpoint that lists events, GET, see [Handler.IngestEvent].
// Where the store is no EventReader it answers 404.
func (h *Handler) ListEvents() http.Handler { return h.single(h.endpoints.listEvents) }

// GetEvent is the endpoint that answers one event, GET, see
// [Handler.IngestEvent]. Its pattern must have an {id}. Where the store is no
// EventReader it answers 404.
func (h *Handler) GetEvent() http.Handler { return h.single(h.endpoints.getEvent) }

// single serves one endpoint on a path that the host has matched.
func (h *Handler) single(e *endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.exchange(w, r, func(x *exchange) error {
			if e.method == http.MethodGet && h.reader == nil {
				return newError(CodeResourceNotFound, "events cannot be read back here")
			}
			x.id = r.PathValue("id")
			version := strings.TrimPrefix(r.PathValue("version"), "v")
			if r.PathValue("version") == "" {
				version = "1"
			}
			return h.serve(x, version, e)
		})
	})
}

// Ready returns nil if the store is expected to accept events. A store that does not
// implement [ReadyChecker] is always ready.
func (h *Handler) Ready(ctx context.Context) error {
	if store, ok := h.cfg.Store.(ReadyChecker); ok {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return store.Ready(ctx)
	}
	return nil
}
