package chargetest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
)

// call is a request on its way through the server.
type call struct {
	ctx     context.Context
	request *Request // changed with the server's mutex held
	fault   Fault
	restart <-chan struct{} // closed when the server is restarted

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
	if s.strayed(s.t) {
		http.Error(w, "chargetest: the server and its caller are not in one bubble of testing/synctest", http.StatusInternalServerError)
		return
	}
	c := &call{ctx: r.Context(), request: newRequest(r)}
	handler, faults := s.admit(c)
	if handler == nil {
		http.Error(w, "chargetest: the server has ended, or could not be made", http.StatusInternalServerError)
		return
	}
	defer s.answered(c)
	body := newReceived(r)
	if faults {
		// Who is to meet one can depend on the body.
		body.readAll()
		s.keepBody(c, r, body)
		s.meet(c)
	}
	before := !c.fault.committed
	if before && (!s.wait(c, c.fault.delay) || c.fault.kind == kindReset) {
		s.cut(c, w)
		return
	}
	if before && c.fault.kind == kindStatus {
		s.send(c, w, s.refusal(c, ""))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	r.Body = body
	a := newAnswer()
	handler.ServeHTTP(a, r)
	if !faults {
		body.drain(r)
		s.keepBody(c, r, body)
	}
	a.injected = c.storeFailed
	s.judged(c, a)
	if !before && !s.wait(c, c.fault.delay) {
		s.cut(c, w)
		return
	}
	s.finish(c, w, a)
}

// admit enters a request into the journal, and says whether there are faults
// that it may meet. No handler says that nobody serves.
func (s *Server) admit(c *call) (handler *chargeingest.Handler, faults bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed || s.handler == nil {
		return nil, false
	}
	s.journal = append(s.journal, c.request)
	c.request.N, c.request.At = len(s.journal), s.clock()
	c.restart = s.restarting
	s.notify()
	return s.handler, len(s.rules) > 0
}

// keepBody enters into the journal what was read of a body.
func (s *Server) keepBody(c *call, r *http.Request, body *received) {
	text, events := readBody(r, body.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Body, c.request.Events = text, events
}

// meet finds the fault that a request meets.
func (s *Server) meet(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault, rule := s.pick(c.request); rule != nil {
		c.fault, c.request.Fault = fault, rule.name
	}
}

// finish sends an answer of the handler, or what a fault makes of it.
func (s *Server) finish(c *call, w http.ResponseWriter, a *answer) {
	switch c.fault.kind {
	case kindStatus:
		s.send(c, w, s.refusal(c, a.header.Get("X-Request-Id")))
	case kindReset:
		s.cut(c, w)
	case kindMalformed:
		a.text = append(a.text[:len(a.text)/2:len(a.text)/2], "…"...)
		a.header.Set("Content-Length", strconv.Itoa(len(a.text)))
		s.send(c, w, a)
	case kindTruncated:
		a.writeHead(w)
		_, _ = w.Write(a.text[:len(a.text)/2])
		s.answered(c)
		_ = http.NewResponseController(w).Flush()
		_ = takeOver(w).Close()
	case kindSlowBody:
		s.sendSlowly(c, w, a)
	default:
		s.send(c, w, a)
	}
}

// wait waits for d; false says that the client is gone, or the server is
// restarted or closed.
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
	case <-c.restart:
	case <-s.closing:
	}
	return false
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

// cut resets the connection. The journal says so before the client can know.
func (s *Server) cut(c *call, w http.ResponseWriter) {
	s.answered(c)
	takeOver(w).reset()
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

// observed keeps what the handler tells of a request.
func (s *Server) observed(ctx context.Context, o chargeingest.RequestStats) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Route, c.request.Platform, c.request.Replayed = o.Route, o.Platform, o.Replayed
}

// judged keeps that the handler rejected a request, whatever a fault makes of
// its answer.
func (s *Server) judged(c *call, a *answer) {
	if a.status < 400 || a.injected {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.rejected = true
	if n := c.request.N; n <= len(s.journal) && s.journal[n-1] == c.request {
		s.rejected = append(s.rejected, c.request) // it came in after the last Reset
	}
	c.request.setError(a.text)
}

// sent keeps an answer, before it is sent: who has it finds it in the journal.
func (s *Server) sent(c *call, a *answer) {
	s.mu.Lock()
	c.request.Status, c.request.Answer = a.status, bytes.Clone(a.text)
	if a.status >= 400 && !c.request.rejected {
		c.request.setError(a.text)
	}
	line := ""
	if c.request.Fault != "" || c.request.rejected {
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
	if c.request.ended {
		s.mu.Unlock()
		return
	}
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

// received is a body of which what is read is kept.
type received struct {
	source io.Reader // with what was read already before it
	io.Closer
	text []byte // at most mostReceived, as it was sent
}

// mostReceived is how much of a body the journal keeps. What is beyond reaches
// the handler all the same.
const mostReceived = 16 << 20

func newReceived(r *http.Request) *received {
	if r.Body == nil {
		return &received{source: http.NoBody, Closer: http.NoBody}
	}
	b := &received{Closer: r.Body}
	b.source = io.TeeReader(r.Body, keeper{b})
	return b
}

// Read implements [io.Reader].
func (b *received) Read(p []byte) (int, error) { return b.source.Read(p) }

// keeper keeps what is read of a body.
type keeper struct{ *received }

func (k keeper) Write(p []byte) (int, error) {
	k.text = append(k.text, p[:min(len(p), mostReceived-len(k.text))]...)
	return len(p), nil
}

// readAll reads the body before the handler does, for whom it is there again,
// and an error in the middle of it, too.
func (b *received) readAll() {
	rest := b.source
	if _, err := io.Copy(io.Discard, io.LimitReader(b.source, mostReceived)); err != nil {
		rest = failedReader{err}
	}
	text := bytes.NewReader(b.text)
	b.source = io.MultiReader(text, unkept{rest})
}

// unkept reads on without keeping: the journal has its fill.
type unkept struct{ io.Reader }

// drain reads what the handler left of a small body, as net/http does behind it.
func (b *received) drain(r *http.Request) {
	const small = 256 << 10
	if r.ContentLength > 0 && r.ContentLength < small && !strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		_, _ = io.Copy(io.Discard, b)
	}
}

type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
