package chargeingest

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// smallWriteTimeout is the time for a client to read one chunk.
	smallWriteTimeout = 2 * time.Second

	// chunkWriteTimeout is the time for each unbuffered chunk of a larger response.
	chunkWriteTimeout = 10 * time.Second

	// The operating system buffers up to socketBuffer bytes and accepts more after the client
	// has read a third: each write leaves time to read all at minReadRate bytes per second.
	socketBuffer = 4 << 20
	minReadRate  = 32 << 10

	// arrivalGrace is the time for bodies to arrive after a shutdown has begun.
	arrivalGrace = time.Second

	discardGrace = 250 * time.Millisecond
)

type wait int

const (
	waitArrival wait = iota // until the body arrives
	waitDiscard             // until a discarded body arrives
	waitWrite               // until the client reads the response
)

// server is an http.Server around the handler. Its Shutdown waits for all requests, so those
// that wait for a client get a deadline.
type server struct {
	http    *http.Server
	stopped atomic.Bool

	mu    sync.Mutex
	waits map[*request]wait
}

func newServer(s *http.Server) (*server, func()) {
	added := &server{http: s, waits: make(map[*request]wait)}
	return added, added.stop
}

func (s *server) startWait(req *request, w wait) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits[req] = w
	if s.stopped.Load() {
		req.setShutdownDeadline(w)
	}
}

func (s *server) endWait(req *request) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waits, req)
	if s.stopped.Load() && req.body.ended {
		// net/http now reads from the connection to detect its end.
		_ = http.NewResponseController(req.w).SetReadDeadline(time.Time{})
	}
}

// stop sets the deadline of all waiting requests, which end these waits before the next one of
// their connection begins.
func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped.Store(true)
	for req, w := range s.waits {
		req.setShutdownDeadline(w)
	}
}

func (s *server) setReadDeadline(req *request, deadline time.Time) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stopped.Load() {
			return
		}
	}
	_ = http.NewResponseController(req.w).SetReadDeadline(deadline)
}

func (s *server) isStopping() bool { return s != nil && s.stopped.Load() }

func (req *request) setShutdownDeadline(w wait) {
	c, now := http.NewResponseController(req.w), time.Now()
	switch w {
	case waitArrival:
		_ = c.SetReadDeadline(now.Add(arrivalGrace))
	case waitDiscard:
		_ = c.SetReadDeadline(now.Add(discardGrace))
	case waitWrite:
		_ = c.SetWriteDeadline(now.Add(smallWriteTimeout))
	}
}

// allowWrite gives the client d to read the next write, within the server's WriteTimeout.
func (req *request) allowWrite(d time.Duration) error {
	if req.server.isStopping() {
		d = min(d, smallWriteTimeout)
	}
	deadline := time.Now().Add(d)
	if own := req.writeDeadline(); !own.IsZero() && own.Before(deadline) {
		deadline = own
	}
	return http.NewResponseController(req.w).SetWriteDeadline(deadline)
}

func (req *request) chunkTimeout() time.Duration {
	return chunkWriteTimeout + time.Duration(min(req.sent, socketBuffer))*time.Second/minReadRate
}

func (req *request) writeDeadline() time.Time {
	if d := req.server.http.WriteTimeout; d > 0 {
		return req.systemStart.Add(d)
	}
	return time.Time{}
}

// flush sends the buffered part of the response. Its deadline does not apply to middleware
// after the handler. Unless a part of the body is unread, flush needs an http.Flusher: a writer
// that wraps another may buffer on purpose.
func (req *request) flush() error {
	c := http.NewResponseController(req.w)
	_, flushes := req.w.(http.Flusher)
	switch {
	case req.server == nil:
		return nil
	case !flushes && !req.unread:
		_ = req.allowWrite(req.chunkTimeout())
		return nil
	}
	timeout := smallWriteTimeout
	if req.sent > responseChunk {
		timeout = req.chunkTimeout()
	}
	limited := req.allowWrite(timeout) == nil
	err := c.Flush()
	if limited {
		_ = c.SetWriteDeadline(req.writeDeadline())
	}
	return err
}

const (
	// An unneeded body of up to smallBody bytes that arrives within smallBodyTimeout is
	// read before the response, so that the connection can be reused.
	smallBody        = 256 << 10
	smallBodyTimeout = 10 * time.Millisecond

	// continueTimeout is the maximum pause of a client that got its response instead of a
	// 100 Continue.
	continueTimeout = 250 * time.Millisecond
)

// leavesBody reports whether a part of the body may still arrive. HTTP/2 ends the stream.
func (req *request) leavesBody() bool {
	r := req.r
	return r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && !req.body.ended
}

// awaitsContinue relies on net/http, which accepts no other expectation.
func (req *request) awaitsContinue() bool {
	return !req.body.begun && req.r.ProtoAtLeast(1, 1) && req.r.Header.Get("Expect") != ""
}

// leaveBody prepares a response that closes the connection without the rest of the body.
func (req *request) leaveBody() {
	if req.server == nil || !req.leavesBody() {
		return
	}
	c := http.NewResponseController(req.w)
	if n := req.r.ContentLength; n > 0 && n <= smallBody && !req.body.failed && !req.awaitsContinue() &&
		c.SetReadDeadline(time.Now().Add(smallBodyTimeout)) == nil {
		if _, err := io.Copy(io.Discard, req.r.Body); err == nil {
			req.body.ended = true
			return
		}
	}
	// If middleware drops the header, net/http reads the rest of the body first. With
	// EnableFullDuplex it would parse it as the next request.
	if c.SetReadDeadline(time.Now().Add(smallBodyTimeout)) != nil {
		return
	}
	req.header().Set("Connection", "close")
	req.unread = true
}

// discard reads the rest of the body after the response. Closing the connection earlier would
// reset it, and clients that send the whole body first would miss the response.
func (h *Handler) discard(req *request) {
	if req.body.failed && !req.server.isStopping() {
		// Nor may net/http wait for the rest.
		_ = http.NewResponseController(req.w).SetReadDeadline(time.Now())
		return
	}
	req.server.startWait(req, waitDiscard)
	defer req.server.endWait(req)
	end := time.Now().Add(h.cfg.MaxDiscardTime)
	if !req.awaitsContinue() {
		req.server.setReadDeadline(req, end)
		_, err := io.CopyN(io.Discard, req.r.Body, h.cfg.MaxDiscardBytes)
		req.body.ended = errors.Is(err, io.EOF)
		return
	}
	if req.r.Method == http.MethodHead {
		_, _ = req.w.Write(nil) // reading would send a 100 Continue otherwise
	}
	piece := make([]byte, 8<<10)
	for left := h.cfg.MaxDiscardBytes; left > 0; {
		next := time.Now().Add(continueTimeout)
		if next.After(end) {
			next = end
		}
		req.server.setReadDeadline(req, next)
		n, err := req.r.Body.Read(piece[:min(left, int64(len(piece)))])
		if err != nil {
			req.body.ended = errors.Is(err, io.EOF)
			return
		}
		left -= int64(n)
	}
}
