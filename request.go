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
	err := panics.Catch(func() error { return h.begin(x) })
	if err == nil {
		err = panics.Catch(func() error { return serve(x) })
	}
	var e *Error
	if err != nil {
		if !errors.As(err, &e) {
			e = internalError(err)
		}
		x.fail(e)
	}
	h.finish(x, e)
	panics.Ignore(func() { h.complete(x) })
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
	panics.Ignore(func() { o.Duration = h.cfg.Now().Sub(x.start) })
	panics.Ignore(func() { h.log(x, o, e) })
	if h.cfg.Observer != nil {
		panics.Ignore(func() { h.observe(x, o) })
	}
}

// observe calls the observer. The answer is written by then, so that a panic
// of it is only logged.
func (h *Handler) observe(x *exchange, o RequestStats) {
	ctx := x.r.Context()
	if x.unread {
		ctx = context.WithoutCancel(ctx) // an incomplete body has ended it
	}
	err := panics.Catch(func() error {
		h.cfg.Observer(ctx, o)
		return nil
	})
	if err != nil {
		text := redact.New(x.r.Header)
		h.cfg.Logger.ErrorContext(x.r.Context(), "charge ingest observer failed",
			"request_id", text.RequestID(x.requestID), "error", text.Cause(err))
	}
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
	text := redact.New(x.r.Header)
	attrs := []slog.Attr{
		slog.String("request_id", text.RequestID(x.requestID)),
		slog.String("client", text.ClientAddress(x.r.RemoteAddr)),
		slog.String("subject", text.HostText(x.subject)),
		slog.String("platform", text.HostText(o.Platform)),
		slog.String("route", string(o.Route)),
		slog.String("method", text.Method(o.Method)),
		slog.Int("status", o.Status),
		slog.Int("events", o.Events),
		slog.Int("replayed", o.Replayed),
		slog.Duration("duration", o.Duration),
	}
	if o.Route == "" || o.Status == http.StatusNotFound || o.Status == http.StatusMethodNotAllowed {
		attrs = append(attrs, slog.String("path", text.Path(x.r.URL)))
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

// responseChunk is how much of a response is written at a time. Parts of larger
// events are written as they are, without a copy.
const responseChunk = 32 << 10

// eventsResponse is a response with events. It is written piece by piece: a
// client that reads slowly holds the events and one chunk, not a copy of all.
type eventsResponse struct {
	head, tail string

	// One of the two.
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

// size returns the length of the body.
func (r *eventsResponse) size() int {
	n := len(r.head) + len(r.tail) + max(0, r.len()-1) // with the commas
	for i := range r.len() {
		e := r.at(i)
		n += len(eventHead) + len(e.ID) + len(eventTail) + len(e.Content) - 1
	}
	return n
}

// respond writes a response. What is in buf is overwritten.
func (x *exchange) respond(status int, r eventsResponse, buf *bytes.Buffer) {
	size := r.size()
	x.writeHeader(status, size)
	if x.r.Method == http.MethodHead {
		return
	}
	buf.Reset()
	buf.Grow(min(size, responseChunk))
	c := chunks{x: x, buf: buf.AvailableBuffer(), renew: x.host != nil && size > responseChunk}
	if c.renew {
		x.host.begin(x, waitWrite)
		defer x.host.end(x)
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

// writeHeader begins a response with a JSON body of a length.
func (x *exchange) writeHeader(status, length int) {
	// Of a smaller response nothing is sent before it is complete.
	const buffered = 2 << 10
	x.status = status
	x.leaveBody()
	if x.host != nil && length > buffered {
		_ = x.allowWrite(smallWrite)
	}
	x.setHeader(1, "Content-Type", "application/json")
	x.setHeader(2, "Content-Length", strconv.Itoa(length))
	x.w.WriteHeader(status)
}

// chunks gathers the pieces of a body. After an error nothing more is written:
// the client is gone and will send its request again.
type chunks struct {
	x     *exchange
	buf   []byte
	renew bool // the deadline of each chunk
}

func (c *chunks) write(s string) {
	if len(c.buf)+len(s) > responseChunk {
		c.flush()
	}
	for ; len(s) > responseChunk; s = s[responseChunk:] {
		if c.begin() {
			n, err := io.WriteString(c.x.w, s[:responseChunk])
			c.x.sent += int64(n)
			c.x.broken = err != nil
		}
	}
	c.buf = append(c.buf, s...)
}

func (c *chunks) flush() {
	if len(c.buf) > 0 && c.begin() {
		n, err := c.x.w.Write(c.buf)
		c.x.sent += int64(n)
		c.x.broken = err != nil
	}
	c.buf = c.buf[:0]
}

// begin reports whether the next chunk is to be written.
func (c *chunks) begin() bool {
	if c.renew && !c.x.broken {
		_ = c.x.allowWrite(c.x.chunkPatience())
	}
	return !c.x.broken
}
