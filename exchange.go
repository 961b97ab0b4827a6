package chargeingest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
)

// RequestStats is what is known about a request when its response is written. Its
// texts are not redacted: the request ID, the field and the violations can have text
// of the client's.
type RequestStats struct {
	RequestID string
	Subject   string // of the caller, if known; also of one that was refused
	Platform  string
	Route     Route // empty if no endpoint has the path, or the method is wrong
	Method    string
	Status    int
	Code      Code // of the error, or empty

	// Field and Violations are those of the error response: a dotted path, and at most
	// 100 broken rules, the first of which is the error itself. Both are empty unless
	// the error is of a field. The observer may keep the slice and must not change it.
	Field      string
	Violations []Violation

	Events   int   // in the response
	Replayed int   // of them, those that had been stored before
	Bytes    int64 // of the request's body that were read, decompressed

	// Duration ends before the rest of a body is discarded: see
	// Config.MaxDiscardTime.
	Duration time.Duration
}

// exchange is one request on its way to its answer.
type exchange struct {
	w          http.ResponseWriter
	r          *http.Request
	requestID  string
	id         string // of the event that is asked for
	subject    string
	platform   string
	route      Route
	events     int
	replayed   int
	bytes      int64
	status     int
	sent       int64 // bytes of the response's body, if it has events
	broken     bool  // the answer could not be written
	start      time.Time
	held       limits.Reservation
	comparison limits.Comparison // of a POST
	body       arrivingBody
	unread     bool      // a part of the body is discarded after the response
	host       *host     // nil if the request comes from no http.Server
	began      time.Time // by the clock of the operating system, if there is a host

	// values are those of the headers that every answer has.
	values [3]string
}

// setHeader sets a header that every answer has; i is its place in values.
func (x *exchange) setHeader(i int, canonicalName, value string) {
	x.values[i] = value
	x.header()[canonicalName] = x.values[i : i+1 : i+1]
}

func (x *exchange) header() http.Header { return x.w.Header() }

// exchange runs serve and sees to it that the request gets exactly one response,
// one log line and one observation, whatever happens.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request, serve func(*exchange) error) {
	x := &exchange{w: w, r: r, host: h.hosts.of(r)}
	if x.host != nil {
		x.began = time.Now()
	}
	x.held.Budget = h.inFlight
	defer x.held.Release()
	err := h.attempt(x, h.begin)
	if err == nil {
		err = h.attempt(x, serve)
	}
	var e *Error
	if err != nil {
		if !errors.As(err, &e) {
			e = internalError(err)
		}
		x.fail(e)
	}
	h.finish(x, e)
	guard(func() { h.complete(x) })
}

// complete sends the response, which is written, and then discards what is left of
// the body. The time for that is not in the observation.
func (h *Handler) complete(x *exchange) {
	err := x.deliver()
	x.held.Release()
	switch {
	case !x.unread:
	case err == nil:
		h.discard(x)
	default:
		// net/http sends what could not be flushed, and then discards a part of the body.
		d := h.cfg.MaxDiscardTime
		if x.host.isStopping() || !errors.Is(err, http.ErrNotSupported) {
			d = 0
		}
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(d))
	}
}

// begin asks the host for the time and an id.
func (h *Handler) begin(x *exchange) error {
	defer func() {
		if x.requestID == "" { // after a panic
			x.requestID = randomRequestID()
		}
		x.setHeader(0, "X-Request-Id", x.requestID)
	}()
	x.start = h.cfg.Now()
	x.requestID = h.requestID(x.r)
	return nil
}

// finish logs and observes a request. Its response is written but perhaps not sent
// yet, so that a panic of the host must not end the connection.
func (h *Handler) finish(x *exchange, e *Error) {
	o := RequestStats{
		RequestID: x.requestID, Subject: x.subject, Platform: x.platform,
		Route: x.route, Method: x.r.Method, Status: x.status,
		Events: x.events, Replayed: x.replayed, Bytes: x.bytes,
	}
	if e != nil {
		o.Code, o.Field = e.Code, e.Field
		n := min(len(e.Violations), maxViolations)
		o.Violations = e.Violations[:n:n]
	}
	guard(func() { o.Duration = h.cfg.Now().Sub(x.start) })
	guard(func() { h.log(x, o, e) })
	if h.cfg.Observer != nil {
		guard(func() { h.observe(x, o) })
	}
}

// guard calls a function of the host and drops its panic, but for
// http.ErrAbortHandler.
func guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			_ = panicError(p)
		}
	}()
	f()
}

// attempt runs serve; a panic becomes an error.
func (h *Handler) attempt(x *exchange, serve func(*exchange) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	return serve(x)
}

// panicError turns a panic into an error with its stack. http.ErrAbortHandler
// is the host's way to cut the connection and goes on.
func panicError(p any) error {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	return panics.FromValue(p)
}

// observe calls the observer. The answer is written by then, so that a panic
// of it is only logged.
func (h *Handler) observe(x *exchange, o RequestStats) {
	defer func() {
		if p := recover(); p != nil {
			err := panicError(p)
			text := newRedactor(x.r.Header)
			h.cfg.Logger.ErrorContext(x.r.Context(), "charge ingest observer failed",
				"request_id", text.requestID(x.requestID), "error", text.cause(err))
		}
	}()
	ctx := x.r.Context()
	if x.unread {
		ctx = context.WithoutCancel(ctx) // which a body that did not arrive has ended
	}
	h.cfg.Observer(ctx, o)
}

// requestID is the caller's, if it sent a sane one: 1–128 visible ASCII characters.
func (h *Handler) requestID(r *http.Request) string {
	const most = 128
	if ids := r.Header.Values("X-Request-Id"); len(ids) == 1 && isVisibleASCII(ids[0], most) {
		return ids[0]
	}
	if id := h.cfg.RequestID(); isVisibleASCII(id, most) {
		return id
	}
	return randomRequestID()
}

func randomRequestID() string { return "reqr_" + rand.Text() }

// isVisibleASCII reports whether s has 1 to most characters from ! to ~.
func isVisibleASCII(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// answer writes a JSON body.
func (x *exchange) answer(status int, body []byte) {
	x.writeHeader(status, len(body))
	if x.r.Method != http.MethodHead {
		// A client that is gone gets nothing; it will ask again.
		_, err := x.w.Write(body)
		x.broken = err != nil
	}
}

// fail writes an error. On a 5xx the client is told whether to send again.
func (x *exchange) fail(e *Error) {
	if x.status != 0 {
		return // it happened while the answer was on its way
	}
	if e.Status >= http.StatusInternalServerError {
		x.header().Set("Idempotency-Retryable", strconv.FormatBool(e.RetryAfter > 0))
	}
	if e.RetryAfter > 0 {
		seconds := int64(math.Ceil(e.RetryAfter.Seconds()))
		x.header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	x.answer(e.Status, e.body())
}

// log writes the request's one line, without its body and its credentials, and
// below 16 KiB.
func (h *Handler) log(x *exchange, o RequestStats, e *Error) {
	level := slog.LevelDebug
	switch {
	case o.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	case o.Status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	ctx := x.r.Context()
	if !h.cfg.Logger.Enabled(ctx, level) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	text := newRedactor(x.r.Header)
	attrs := []slog.Attr{
		slog.String("request_id", text.requestID(x.requestID)),
		slog.String("client", text.clientAddress(x.r.RemoteAddr)),
		slog.String("subject", text.hostText(x.subject)),
		slog.String("platform", text.hostText(o.Platform)),
		slog.String("route", string(o.Route)),
		slog.String("method", text.method(o.Method)),
		slog.Int("status", o.Status),
		slog.Int("events", o.Events),
		slog.Int("replayed", o.Replayed),
		slog.Duration("duration", o.Duration),
	}
	if o.Route == "" || o.Status == http.StatusNotFound || o.Status == http.StatusMethodNotAllowed {
		attrs = append(attrs, slog.String("path", text.path(x.r.URL)))
	}
	if e != nil {
		attrs = append(attrs, slog.String("code", string(e.Code)))
		if e.Field != "" {
			attrs = append(attrs, slog.String("field", text.clientText(limits.Shorten(e.Field))))
		}
		if e.cause != nil {
			attrs = append(attrs, slog.String("error", text.cause(e.cause)))
		}
	}
	h.cfg.Logger.LogAttrs(ctx, level, "charge ingest", attrs...)
}
