package chargetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest"
)

// call is a request on its way through the server.
type call struct {
	ctx     context.Context
	request *Request // changed with the server's mutex held
	fault   Fault

	storeFailed bool // by a fault
}

type callKey struct{}

// callOf returns the call of a context, or nil: events come in by Seed too.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// serve is a request's way: into the journal, past the fault that it meets, to
// the handler, and the answer out.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body := receive(r)
	c := &call{ctx: r.Context(), request: newRequest(r, body.text)}
	s.mu.Lock()
	if s.isClosed || s.handler == nil {
		s.mu.Unlock()
		http.Error(w, "chargetest: the server has ended, or could not be made", http.StatusInternalServerError)
		return
	}
	handler := s.handler
	s.journal = append(s.journal, c.request)
	c.request.N, c.request.At = len(s.journal), s.clock()
	fault, rule := s.pick(c.request)
	if rule != nil {
		c.fault, c.request.Fault = fault, rule.name
	}
	s.notify()
	s.mu.Unlock()
	defer s.answered(c)

	if !fault.committed && !s.wait(c, fault.delay) || fault.kind == kindReset && !fault.committed {
		s.cut(c, w)
		return
	}
	if fault.kind == kindStatus && !fault.committed {
		s.send(c, w, s.refusal(c, fault))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	r.Body = body
	a := newAnswer()
	handler.ServeHTTP(a, r)
	a.injected = c.storeFailed
	if fault.committed && !s.wait(c, fault.delay) {
		s.cut(c, w)
		return
	}
	s.finish(c, w, a)
}

// finish sends an answer of the handler, or what a fault makes of it.
func (s *Server) finish(c *call, w http.ResponseWriter, a *answer) {
	switch c.fault.kind {
	case kindStatus:
		s.send(c, w, s.refusal(c, c.fault))
	case kindReset:
		s.cut(c, w)
	case kindMalformed:
		a.text = append(a.text[:len(a.text)/2:len(a.text)/2], "…"...)
		a.header.Set("Content-Length", strconv.Itoa(len(a.text)))
		s.send(c, w, a)
	case kindTruncated:
		a.writeHead(w)
		_, _ = w.Write(a.text[:len(a.text)/2])
		_ = http.NewResponseController(w).Flush()
		s.hangUp(c, w)
	case kindSlowBody:
		s.sendSlowly(c, w, a)
	default:
		s.send(c, w, a)
	}
}

// wait waits for d; false says that the client is gone, or the server closes.
func (s *Server) wait(c *call, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	case <-s.closing:
		return false
	}
}

// send sends an answer whole.
func (s *Server) send(c *call, w http.ResponseWriter, a *answer) {
	s.sent(c, a)
	a.writeHead(w)
	_, _ = w.Write(a.text)
}

// sendSlowly takes the fault's time to send the body.
func (s *Server) sendSlowly(c *call, w http.ResponseWriter, a *answer) {
	const pieces = 8
	s.sent(c, a)
	a.writeHead(w)
	for i := range pieces {
		if !s.wait(c, c.fault.pace/pieces) {
			s.cut(c, w)
			return
		}
		_, _ = w.Write(a.text[len(a.text)*i/pieces : len(a.text)*(i+1)/pieces])
		_ = http.NewResponseController(w).Flush()
	}
}

// cut resets the connection. Who sees that finds in the journal that the request
// has ended.
func (s *Server) cut(c *call, w http.ResponseWriter) {
	s.end(c)
	takeOver(w).reset()
}

// hangUp closes the connection behind what was written.
func (s *Server) hangUp(c *call, w http.ResponseWriter) {
	s.end(c)
	_ = takeOver(w).Close()
}

func (s *Server) end(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.ended = true
}

// takeOver takes the connection of a request over, or panics where it cannot.
func takeOver(w http.ResponseWriter) *conn {
	taken, _, err := http.NewResponseController(w).Hijack()
	if c, ok := taken.(*conn); ok {
		return c
	}
	if err == nil {
		_ = taken.Close()
	}
	panic(http.ErrAbortHandler)
}

// refusal is the answer of a [Status].
func (s *Server) refusal(c *call, f Fault) *answer {
	a := newAnswer()
	a.injected = true
	a.status = f.status
	a.header.Set("Content-Type", "application/json")
	a.header.Set("X-Request-Id", s.requestIDOf(c.request))
	kind := "INVALID_REQUEST"
	if f.status >= 500 {
		kind = "API_ERROR"
		safe := f.status != http.StatusInternalServerError && (!f.committed || c.request.isRepeatable())
		a.header.Set("Idempotency-Retryable", strconv.FormatBool(safe))
		if !safe {
			f.retryAfter = 0
		}
	}
	if f.status == http.StatusUnauthorized {
		a.header.Set("WWW-Authenticate", "Bearer")
	}
	if f.retryAfter > 0 {
		a.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	a.text, _ = json.Marshal(errorBody{Type: kind, Code: f.code, Message: f.message}) // strings always are JSON
	a.header.Set("Content-Length", strconv.Itoa(len(a.text)))
	return a
}

// requestIDOf is the id that the handler would give the request.
func (s *Server) requestIDOf(r *Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		return id
	}
	return s.requestID()
}

// errorBody is the contract's error, as far as it is looked at here.
type errorBody struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
	Errors  []struct {
		Field string `json:"field"`
	} `json:"errors,omitempty"`
}

// answer is a ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	text   []byte

	// injected says that the status is the doing of a fault.
	injected bool
}

func newAnswer() *answer { return &answer{header: make(http.Header)} }

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.text = append(a.text, p...)
	return len(p), nil
}

// writeHead writes all but the body.
func (a *answer) writeHead(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
}

// received is a body that was read before the handler reads it.
type received struct {
	io.Reader
	io.Closer
	text []byte // at most mostReceived, as it was sent
}

// mostReceived is how much of a body the journal keeps. What is beyond reaches
// the handler all the same.
const mostReceived = 16 << 20

// receive reads the body of a request: who is to meet a fault can depend on it.
// An error in the middle of it is there for the handler, too.
func receive(r *http.Request) *received {
	if r.Body == nil {
		return &received{Reader: http.NoBody, Closer: http.NoBody}
	}
	var text bytes.Buffer
	_, err := text.ReadFrom(io.LimitReader(r.Body, mostReceived))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failedReader{err}
	}
	return &received{io.MultiReader(bytes.NewReader(text.Bytes()), rest), r.Body, text.Bytes()}
}

type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }

// observed keeps what the handler tells of a request.
func (s *Server) observed(ctx context.Context, o chargeingest.Observation) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Route, c.request.Platform, c.request.Replayed = o.Route, o.Platform, o.Replayed
}

// sent keeps an answer, before it is sent: who has it finds it in the journal.
func (s *Server) sent(c *call, a *answer) {
	s.mu.Lock()
	c.request.Status, c.request.Answer = a.status, bytes.Clone(a.text)
	if a.status >= 400 {
		c.request.rejected = !a.injected
		var e errorBody
		if json.Unmarshal(a.text, &e) == nil {
			c.request.Code, c.request.Message, c.request.Field = chargeingest.Code(e.Code), e.Message, e.Field
			c.request.Violations = len(e.Errors)
		}
		c.request.NearMiss = nearMiss(c.request, e)
	}
	line := ""
	if c.request.Fault != "" || c.request.Rejected() {
		line = c.request.String()
	}
	s.mu.Unlock()
	if line != "" {
		s.tell(line)
	}
}

// answered tells those who wait that a request has ended, and the test of an
// answer that was not sent.
func (s *Server) answered(c *call) {
	s.mu.Lock()
	c.request.ended = true
	line := ""
	if c.request.Status == 0 {
		line = c.request.String()
	}
	s.notify()
	s.mu.Unlock()
	if line != "" {
		s.tell(line)
	}
}

// notify wakes those who wait. Called with s.mu held.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}
