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
	"example.com/chargeingest/internal/servers"
)

// Config configures a [Handler]. Store and Authorizer are required.
type Config struct {
	// The GET routes are served if Store implements EventReader.
	Store EventStore

	Authorizer Authorizer

	// Logger gets one line per request: failures at Error, rejections at Info, successes at
	// Debug. Default: slog.Default(), which drops lines at Debug.
	Logger *slog.Logger

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// RequestID returns a unique id, 1 to 128 visible ASCII characters, for a request
	// without a valid X-Request-Id. Default, also for an invalid id: "reqr_" and 26 random
	// characters.
	RequestID func() string

	// MaxBodyBytes limits a body after decompression. Default: 4 MiB.
	MaxBodyBytes int64

	// MaxBatchEvents limits the events of one request. Default: 1,000.
	MaxBatchEvents int

	// MaxInFlightBytes limits the bodies and returned events of all requests in progress.
	// Beyond it, the response is 503. A body counts as it arrives: at most twice the
	// received bytes, decompressed, plus 72 KiB. One platform gets at most seven eighths.
	// The only request in progress is never rejected. Default: 64 MiB, or MaxBodyBytes if
	// that is larger.
	MaxInFlightBytes int64

	// MaxDiscardBytes and MaxDiscardTime limit how much of an unneeded body is discarded
	// after an HTTP/1.1 response, such as 401 or 413, so that clients that send the whole
	// body first still get it. Middleware sees the request end only after this time.
	// Defaults: 16 MiB, 5 s.
	MaxDiscardBytes int64
	MaxDiscardTime  time.Duration

	// KeepUnknownFields stores and returns fields that the contract does not define. By
	// default they are rejected with 400, because a client that misspells reference could
	// bill twice.
	KeepUnknownFields bool

	// Duplicates is the policy for a stored reference with different content. Default:
	// RejectConflict.
	Duplicates DuplicatePolicy

	// MaxFutureSkew limits how far timestamps may be ahead of the time of receipt. Default:
	// no limit.
	MaxFutureSkew time.Duration

	// RequireReference rejects events without a reference, so that no retry can bill twice.
	RequireReference bool

	// Observer, if set, is called after each request, on its goroutine.
	Observer func(context.Context, RequestStats)
}

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
		return c, fmt.Errorf("chargeingest: Config.Duplicates has the invalid value %d", c.Duplicates)
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

// ingestTimeout limits how long a request that was read waits to be stored.
const ingestTimeout = 30 * time.Second

// Handler is the HTTP endpoint. It serves
//
//	POST /v1/ingest/charge-data
//	POST /v1/ingest/charge-datas
//	GET  /v1/ingest/charge-data
//	GET  /v1/ingest/charge-data/{id}
//
// below a prefix that you strip with http.StripPrefix.
//
// Set timeouts and MaxHeaderBytes on the http.Server. Within these timeouts, the handler
// also limits how long it waits for a client, if the ResponseWriter supports
// [http.ResponseController]: see docs/mounting.md. It uses [http.Server.RegisterOnShutdown].
type Handler struct {
	cfg       Config
	reader    EventReader // nil if the store does not implement it
	endpoints endpoints
	validator *validator
	inFlight  *limits.Budget
	buffers   bodyBuffers
	deadlines limits.Deadlines
	servers   servers.Map[server]
}

// New returns a handler. The error names an invalid field of cfg.
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
	h.servers.New = newServer
	h.reader, _ = cfg.Store.(EventReader)
	h.endpoints = newEndpoints(h.reader != nil)
	return h, nil
}

type endpoint struct {
	route      Route
	method     string
	permission Permission
	serve      func(*Handler, *request) error
}

func (e *endpoint) allows(method string) bool {
	return method == e.method || e.method == http.MethodGet && method == http.MethodHead
}

type endpoints struct {
	ingestEvent, ingestEvents, getEvent, listEvents *endpoint

	event, batch, byID []*endpoint // a path without endpoints does not exist
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

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.serveRequest(w, r, func(req *request) error {
		version, id, endpoints := h.route(r.URL)
		if endpoints == nil {
			return newError(CodeResourceNotFound, "unknown path; the endpoints are "+
				"/v1/ingest/charge-data, /v1/ingest/charge-data/{id} and /v1/ingest/charge-datas")
		}
		req.eventID = id
		if version == "" {
			return newError(CodeMissingVersion, "the path must start with a version: /v1/")
		}
		return h.serve(req, version, endpoints...)
	})
}

// route returns an empty version if the path has none, and nil endpoints if it is
// unknown.
func (h *Handler) route(u *url.URL) (version, id string, endpoints []*endpoint) {
	first, rest := cutSegment(u.EscapedPath())
	if v, ok := strings.CutPrefix(first, "v"); ok {
		version = v
		first, rest = cutSegment(rest)
	}
	if first != "ingest" {
		return "", "", nil
	}
	name, rest := cutSegment(rest)
	switch {
	case name == "charge-data" && rest == "":
		return version, "", h.endpoints.event
	case name == "charge-datas" && rest == "":
		return version, "", h.endpoints.batch
	case name == "charge-data":
		if id, rest = cutSegment(rest); id != "" && rest == "" {
			return version, id, h.endpoints.byID
		}
	}
	return "", "", nil
}

func cutSegment(path string) (segment, rest string) {
	path = strings.TrimPrefix(path, "/")
	if i := strings.IndexByte(path, '/'); i >= 0 {
		path, rest = path[:i], path[i:]
	}
	// The escaped path of a URL is always valid.
	segment, _ = url.PathUnescape(path)
	return segment, rest
}

func (h *Handler) serve(req *request, version string, endpoints ...*endpoint) error {
	if version != "1" {
		return newError(CodeUnsupportedVersion, "version "+limits.Shorten(version)+" is not supported; the only version is 1")
	}
	var allowed []string
	for _, e := range endpoints {
		if e.allows(req.r.Method) {
			req.route = e.route
			if err := h.authorize(req, e.permission); err != nil {
				return err
			}
			return e.serve(h, req)
		}
		allowed = append(allowed, e.method)
		if e.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	req.header().Set("Allow", strings.Join(allowed, ", "))
	return newError(CodeInvalidOperation, "method "+limits.Shorten(req.r.Method)+" is not allowed here; allowed: "+strings.Join(allowed, ", "))
}

func (h *Handler) authorize(req *request, perm Permission) error {
	var principal Principal
	err := errCredentialTooLong
	if !redact.HasLongCredential(req.r.Header) {
		principal, err = h.cfg.Authorizer.Authorize(req.r, perm)
		req.subject = principal.Subject // for the log, even if the request is rejected
	}
	if err == nil {
		req.platform, err = principal.platform(req.r.Header["X-Platform-Id"])
		if err != nil && !errors.Is(err, errPlatformNotAllowed) {
			return internalError(err)
		}
	}
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNoCredential):
		e = newError(CodeUnauthorised, "no credential that this service accepts; send an X-API-KEY header or a Bearer token, unless this service documents something else")
		req.header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, ErrInvalidCredential):
		e = newError(CodeUnauthorised, "invalid API key or token")
		req.header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, ErrForbidden), errors.Is(err, errPlatformNotAllowed):
		e = newError(CodeUserNotAllowed, "the caller lacks the permission "+string(perm)+", or may not use this platform")
	default:
		e = unavailableError("the credentials cannot be checked at the moment; nothing was stored, send the request again", nil)
		var timed interface{ RetryAfter() time.Duration }
		if errors.As(err, &timed) {
			e.RetryAfter = max(e.RetryAfter, timed.RetryAfter())
		}
	}
	e.cause = err
	return e
}

// IngestEvent returns the endpoint that accepts one event by POST, to be mounted on any
// path. If the pattern has a {version}, its value must be 1 or v1.
func (h *Handler) IngestEvent() http.Handler { return h.single(h.endpoints.ingestEvent) }

// IngestEvents is [Handler.IngestEvent] for a batch.
func (h *Handler) IngestEvents() http.Handler { return h.single(h.endpoints.ingestEvents) }

// ListEvents returns the endpoint that lists events by GET, or responds with 404 if the
// store does not implement EventReader. See [Handler.IngestEvent].
func (h *Handler) ListEvents() http.Handler { return h.single(h.endpoints.listEvents) }

// GetEvent is [Handler.ListEvents] for one event, on a pattern with an {id}.
func (h *Handler) GetEvent() http.Handler { return h.single(h.endpoints.getEvent) }

func (h *Handler) single(e *endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.serveRequest(w, r, func(req *request) error {
			if e.method == http.MethodGet && h.reader == nil {
				return newError(CodeResourceNotFound, "this service does not return stored events")
			}
			req.eventID = r.PathValue("id")
			version := strings.TrimPrefix(r.PathValue("version"), "v")
			if r.PathValue("version") == "" {
				version = "1"
			}
			return h.serve(req, version, e)
		})
	})
}

// Ready returns nil if the store is expected to accept events, or has no [ReadyChecker].
func (h *Handler) Ready(ctx context.Context) error {
	if store, ok := h.cfg.Store.(ReadyChecker); ok {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return store.Ready(ctx)
	}
	return nil
}
