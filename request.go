package chargeingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/internal/redact"
)

// RequestStats describes a request and its response. Texts can come from the client and
// are not redacted.
type RequestStats struct {
	RequestID string
	Subject   string // the caller, if known, even if the request was rejected
	Platform  string
	Route     Route // empty for an unknown path, method or version
	Method    string
	Status    int
	Code      Code // of the error response, or empty

	// Field is a dotted path. Violations has up to 100 entries, the first of which is the
	// error itself. The observer may keep the slice but must not change it.
	Field      string
	Violations []Violation

	Events   int   // events in the response
	Replayed int   // events that had been stored before
	Bytes    int64 // bytes read from the body, after decompression

	BodyDiscarded bool // the response did not need the rest of the body

	// Duration does not include Config.MaxDiscardTime.
	Duration time.Duration
}

type request struct {
	w           http.ResponseWriter
	r           *http.Request
	server      *server   // nil without an http.Server
	start       time.Time // by Config.Now
	systemStart time.Time // by the system clock, if server is set

	requestID string
	subject   string
	platform  string
	route     Route
	eventID   string // for GetEvent

	body       limitedBody
	held       limits.Reservation
	comparison limits.Comparison

	status   int
	events   int
	replayed int
	bytes    int64 // read from the body
	sent     int64 // bytes of the response body, if it has events
	broken   bool  // writing the response failed
	unread   bool  // the rest of the body is discarded after the response

	headerValues [3]string // memory for the headers that every response has
}

func (req *request) setHeader(i int, canonicalName, value string) {
	req.headerValues[i] = value
	req.header()[canonicalName] = req.headerValues[i : i+1 : i+1]
}

func (req *request) header() http.Header { return req.w.Header() }

// serveRequest calls serve. Even if host code panics, the request gets exactly one
// response, log line and call of the observer; not after a panic with
// http.ErrAbortHandler.
func (h *Handler) serveRequest(w http.ResponseWriter, r *http.Request, serve func(*request) error) {
	req := &request{w: w, r: r, server: h.servers.Of(r)}
	if req.server != nil {
		req.systemStart = time.Now()
	}
	req.held.Budget = h.inFlight
	defer req.held.Release()
	err := panics.Catch(func() error { return h.assignID(req) })
	if err == nil {
		err = panics.Catch(func() error { return serve(req) })
	}
	h.report(req, req.fail(err))
	panics.Ignore(func() { h.flushAndDiscard(req) })
}

func (h *Handler) flushAndDiscard(req *request) {
	err := req.flush()
	req.held.Release()
	switch {
	case !req.unread:
	case err == nil:
		h.discard(req)
	default:
		// net/http sends the response after discarding a part of the body.
		d := h.cfg.MaxDiscardTime
		if req.server.isStopping() || !errors.Is(err, http.ErrNotSupported) {
			d = 0
		}
		_ = http.NewResponseController(req.w).SetReadDeadline(time.Now().Add(d))
	}
}

func (h *Handler) assignID(req *request) error {
	defer func() {
		if req.requestID == "" { // host code panicked
			req.requestID = randomRequestID()
		}
		req.setHeader(0, "X-Request-Id", req.requestID)
	}()
	req.start = h.cfg.Now()
	req.requestID = h.requestID(req.r)
	return nil
}

// The response may still be in a buffer, so a panic of host code must not close the
// connection.
func (h *Handler) report(req *request, e *Error) {
	stats := RequestStats{
		RequestID: req.requestID, Subject: req.subject, Platform: req.platform,
		Route: req.route, Method: req.r.Method, Status: req.status,
		Events: req.events, Replayed: req.replayed, Bytes: req.bytes, BodyDiscarded: req.unread,
	}
	if e != nil {
		stats.Code, stats.Field = e.Code, e.Field
		n := min(len(e.Violations), maxViolations)
		stats.Violations = e.Violations[:n:n]
	}
	panics.Ignore(func() { stats.Duration = h.cfg.Now().Sub(req.start) })
	panics.Ignore(func() { h.log(req, stats, e) })
	if h.cfg.Observer != nil {
		panics.Ignore(func() { h.observe(req, stats, h.cfg.Observer) })
	}
	if observe, ok := req.r.Context().Value(observerKey{}).(func(context.Context, RequestStats)); ok {
		panics.Ignore(func() { h.observe(req, stats, observe) })
	}
}

type observerKey struct{}

// WithObserver returns a context for a request that middleware passes to a [Handler].
// observe is called after Config.Observer; observers of inner middleware come first.
func WithObserver(ctx context.Context, observe func(context.Context, RequestStats)) context.Context {
	if outer, ok := ctx.Value(observerKey{}).(func(context.Context, RequestStats)); ok {
		inner := observe
		observe = func(ctx context.Context, stats RequestStats) {
			defer outer(ctx, stats) // even if inner panics
			inner(ctx, stats)
		}
	}
	return context.WithValue(ctx, observerKey{}, observe)
}

func (h *Handler) observe(req *request, stats RequestStats, observer func(context.Context, RequestStats)) {
	ctx := req.r.Context()
	if req.unread {
		ctx = context.WithoutCancel(ctx) // an incomplete body has ended it
	}
	err := panics.Catch(func() error {
		observer(ctx, stats)
		return nil
	})
	if err != nil {
		text := redact.New(req.r.Header)
		h.cfg.Logger.ErrorContext(req.r.Context(), "charge ingest observer failed",
			"request_id", text.RequestID(req.requestID), "error", text.Cause(err))
	}
}

func (h *Handler) requestID(r *http.Request) string {
	const maxLength = 128
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && isVisibleASCII(ids[0], maxLength) {
		return ids[0]
	}
	if id := h.cfg.RequestID(); isVisibleASCII(id, maxLength) {
		return id
	}
	return randomRequestID()
}

func randomRequestID() string { return "reqr_" + rand.Text() }

func (req *request) respond(status int, body []byte) {
	req.writeHeader(status, len(body))
	if req.r.Method != http.MethodHead {
		_, err := req.w.Write(body)
		req.broken = err != nil
	}
}

// fail does not respond twice.
func (req *request) fail(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = internalError(err)
	}
	if req.status != 0 {
		return e
	}
	if e.Status >= http.StatusInternalServerError {
		req.header().Set("Idempotency-Retryable", strconv.FormatBool(e.RetryAfter > 0))
	}
	if e.RetryAfter > 0 {
		seconds := int64(math.Ceil(e.RetryAfter.Seconds()))
		req.header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	req.respond(e.Status, e.body())
	return e
}

// log writes one line of less than 16 KiB, without the body and credentials.
func (h *Handler) log(req *request, stats RequestStats, e *Error) {
	level := slog.LevelDebug
	switch {
	case stats.Status >= http.StatusInternalServerError:
		level = slog.LevelError
	case stats.Status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	ctx := req.r.Context()
	if !h.cfg.Logger.Enabled(ctx, level) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	text := redact.New(req.r.Header)
	attrs := []slog.Attr{
		slog.String("request_id", text.RequestID(req.requestID)),
		slog.String("client", text.ClientAddress(req.r.RemoteAddr)),
		slog.String("subject", text.HostText(req.subject)),
		slog.String("platform", text.HostText(stats.Platform)),
		slog.String("route", string(stats.Route)),
		slog.String("method", text.Method(stats.Method)),
		slog.Int("status", stats.Status),
		slog.Int("events", stats.Events),
		slog.Int("replayed", stats.Replayed),
		slog.Duration("duration", stats.Duration),
	}
	if stats.Route == "" || stats.Status == http.StatusNotFound || stats.Status == http.StatusMethodNotAllowed {
		attrs = append(attrs, slog.String("path", text.Path(req.r.URL)))
	}
	if e != nil {
		attrs = append(attrs, slog.String("code", string(e.Code)))
		if e.Field != "" {
			attrs = append(attrs, slog.String("field", text.ClientText(limits.Shorten(e.Field))))
		}
		if e.cause != nil {
			cause := errCredentialTooLong.Error() // the redactor would hide it
			if !errors.Is(e.cause, errCredentialTooLong) {
				cause = text.Cause(e.cause)
			}
			attrs = append(attrs, slog.String("error", cause))
		}
	}
	h.cfg.Logger.LogAttrs(ctx, level, "charge ingest", attrs...)
}

const responseChunk = 32 << 10

// eventsResponse is written in chunks, so that a slow client holds no copy of all events.
type eventsResponse struct {
	head, tail string

	// Either outcomes or events is set.
	outcomes []Outcome
	events   []StoredEvent
}

func (r *eventsResponse) len() int { return len(r.outcomes) + len(r.events) }

func (r *eventsResponse) at(i int) *StoredEvent {
	if r.outcomes != nil {
		return &r.outcomes[i].StoredEvent
	}
	return &r.events[i]
}

const (
	eventHead = `{"object_type":"` + objectType + `","id":"`
	eventTail = `",` // followed by the content without its brace
)

func (r *eventsResponse) size() int {
	n := len(r.head) + len(r.tail) + max(0, r.len()-1) // with the commas
	for i := range r.len() {
		e := r.at(i)
		n += len(eventHead) + len(e.ID) + len(eventTail) + len(e.Content) - 1
	}
	return n
}

// respondEvents overwrites buf.
func (req *request) respondEvents(status int, r eventsResponse, buf *bytes.Buffer) {
	size := r.size()
	req.writeHeader(status, size)
	if req.r.Method == http.MethodHead {
		return
	}
	buf.Reset()
	buf.Grow(min(size, responseChunk))
	c := chunks{req: req, buf: buf.AvailableBuffer(), renew: req.server != nil && size > responseChunk}
	if c.renew {
		req.server.startWait(req, waitWrite)
		defer req.server.endWait(req)
	}
	c.write(r.head)
	for i := range r.len() {
		if i > 0 {
			c.write(",")
		}
		e := r.at(i)
		c.write(eventHead)
		c.write(e.ID)
		c.write(eventTail)
		c.write(e.Content[1:])
	}
	c.write(r.tail)
	c.flush()
}

func (req *request) writeHeader(status, length int) {
	const buffered = 2 << 10 // net/http sends smaller responses only as a whole
	req.status = status
	req.leaveBody()
	if req.server != nil && length > buffered {
		_ = req.allowWrite(smallWriteTimeout)
	}
	req.setHeader(1, "Content-Type", "application/json")
	req.setHeader(2, "Content-Length", strconv.Itoa(length))
	req.w.WriteHeader(status)
}

type chunks struct {
	req   *request
	buf   []byte
	renew bool // set a deadline for each chunk
}

func (c *chunks) write(s string) {
	if len(c.buf)+len(s) > responseChunk {
		c.flush()
	}
	for ; len(s) > responseChunk; s = s[responseChunk:] {
		if c.canWrite() {
			n, err := io.WriteString(c.req.w, s[:responseChunk])
			c.req.sent += int64(n)
			c.req.broken = err != nil
		}
	}
	c.buf = append(c.buf, s...)
}

func (c *chunks) flush() {
	if len(c.buf) > 0 && c.canWrite() {
		n, err := c.req.w.Write(c.buf)
		c.req.sent += int64(n)
		c.req.broken = err != nil
	}
	c.buf = c.buf[:0]
}

func (c *chunks) canWrite() bool {
	if c.renew && !c.req.broken {
		_ = c.req.allowWrite(c.req.chunkTimeout())
	}
	return !c.req.broken
}
