package chargeingest

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

const (
	// smallWriteTimeout is the time for a client to read a response of one chunk.
	smallWriteTimeout = 2 * time.Second

	// chunkWriteTimeout is the time for a client to read each chunk of a larger response,
	// without the chunks that are buffered before it.
	chunkWriteTimeout = 10 * time.Second

	// The operating system buffers up to socketBuffer bytes of a response. A full buffer
	// accepts more only after the client has read a third of it. A client has the time to
	// read all of it at minReadRate bytes per second.
	socketBuffer = 4 << 20
	minReadRate  = 32 << 10

	// arrivalGrace is the time for bodies to arrive after a shutdown has begun.
	arrivalGrace = time.Second

	// discardGrace is the same for bodies that are discarded.
	discardGrace = 250 * time.Millisecond
)

// hosts are the servers that a handler is mounted in. It keeps only the last in memory,
// because tests make thousands.
type hosts struct {
	last atomic.Pointer[host] // most handlers have one server
	mu   sync.Mutex
	all  map[weak.Pointer[http.Server]]weak.Pointer[host]
}

// of returns the host of a request, or nil without an http.Server.
func (h *hosts) of(r *http.Request) *host {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if server == nil {
		return nil
	}
	if last := h.last.Load(); last != nil && last.server == server {
		return last
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := weak.Make(server)
	found := h.all[key].Value()
	if found == nil {
		if h.all == nil {
			h.all = make(map[weak.Pointer[http.Server]]weak.Pointer[host])
		}
		maps.DeleteFunc(h.all, func(_ weak.Pointer[http.Server], known weak.Pointer[host]) bool { return known.Value() == nil })
		found = &host{server: server, waits: make(map[*request]wait)}
		h.all[key] = weak.Make(found)
		server.RegisterOnShutdown(found.stop) // keeps the host as long as its server
	}
	h.last.Store(found)
	return found
}

// wait is the reason why a request waits for its client.
type wait int

const (
	waitArrival wait = iota // until the body arrives
	waitDiscard             // until a discarded body arrives
	waitWrite               // until the client reads the response
)

// host is an http.Server around the handler. Its Shutdown waits for every request, so
// waiting requests get a deadline when it begins.
type host struct {
	server  *http.Server
	stopped atomic.Bool

	mu    sync.Mutex
	waits map[*request]wait
}

// begin records that a request waits for its client. On a nil host it does nothing.
func (h *host) begin(req *request, w wait) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits[req] = w
	if h.stopped.Load() {
		req.setShutdownDeadline(w)
	}
}

// end ends the wait that begin recorded.
func (h *host) end(req *request) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waits, req)
	if h.stopped.Load() && req.body.ended {
		// net/http now reads from the connection to detect its end.
		_ = http.NewResponseController(req.w).SetReadDeadline(time.Time{})
	}
}

// stop sets the deadline of all waiting requests. A request leaves waits before its
// handler returns, so no deadline applies to a later request of the connection.
func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped.Store(true)
	for req, w := range h.waits {
		req.setShutdownDeadline(w)
	}
}

// setReadDeadline sets a deadline unless a shutdown has set one.
func (h *host) setReadDeadline(req *request, deadline time.Time) {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.stopped.Load() {
			return
		}
	}
	_ = http.NewResponseController(req.w).SetReadDeadline(deadline)
}

// isStopping reports whether the server is shutting down.
func (h *host) isStopping() bool { return h != nil && h.stopped.Load() }

// setShutdownDeadline has no effect if the ResponseWriter does not support deadlines.
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

// allowWrite gives the client d to read the next write, but no more than the server's
// WriteTimeout.
func (req *request) allowWrite(d time.Duration) error {
	if req.host.isStopping() {
		d = min(d, smallWriteTimeout)
	}
	deadline := time.Now().Add(d)
	if own := req.writeDeadline(); !own.IsZero() && own.Before(deadline) {
		deadline = own
	}
	return http.NewResponseController(req.w).SetWriteDeadline(deadline)
}

// chunkTimeout is the time for the client to read the next chunk.
func (req *request) chunkTimeout() time.Duration {
	return chunkWriteTimeout + time.Duration(min(req.sent, socketBuffer))*time.Second/minReadRate
}

// writeDeadline is the end of the server's WriteTimeout, zero if it has none.
func (req *request) writeDeadline() time.Time {
	if d := req.host.server.WriteTimeout; d > 0 {
		return req.began.Add(d)
	}
	return time.Time{}
}

// flush sends the buffered part of the response. Its deadline does not apply to the work of
// middleware after the handler.
//
// Unless a part of the body is unread, flush only uses a writer that implements
// http.Flusher: one that wraps another writer may buffer the response on purpose.
func (req *request) flush() error {
	c := http.NewResponseController(req.w)
	_, flushes := req.w.(http.Flusher)
	switch {
	case req.host == nil:
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
	// An unneeded body of up to smallBody bytes is read before the response if it arrives
	// within smallBodyTimeout, so that the connection can be reused. net/http reads as
	// much, without a time limit.
	smallBody        = 256 << 10
	smallBodyTimeout = 10 * time.Millisecond

	// continueTimeout is the maximum pause of a client that got its response instead of a
	// 100 Continue. Most clients send nothing more, some have already begun.
	continueTimeout = 250 * time.Millisecond
)

// leavesBody reports whether a part of the body may still arrive. HTTP/2 needs no care,
// because the stream ends.
func (req *request) leavesBody() bool {
	r := req.r
	return r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && !req.body.ended
}

// awaitsContinue reports whether the client waits for a 100 Continue, the only expectation
// that net/http accepts.
func (req *request) awaitsContinue() bool {
	return !req.body.begun && req.r.ProtoAtLeast(1, 1) && req.r.Header.Get("Expect") != ""
}

// leaveBody prepares a response that does not wait for the rest of the body, after which
// the connection is closed. It does nothing for servers and writers without support.
func (req *request) leaveBody() {
	if req.host == nil || !req.leavesBody() {
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
	// If middleware drops the header, net/http reads the rest of the body before it
	// responds, or closes the connection at the deadline. With EnableFullDuplex it would
	// parse the rest as the next request.
	if c.SetReadDeadline(time.Now().Add(smallBodyTimeout)) != nil {
		return
	}
	req.header().Set("Connection", "close")
	req.unread = true
}

// discard reads the rest of the body after the response. Closing the connection earlier
// would reset it, and clients that send the whole body first would miss the response.
func (h *Handler) discard(req *request) {
	if req.body.failed && !req.host.isStopping() {
		// The rest will not arrive, so net/http must not wait for it either.
		_ = http.NewResponseController(req.w).SetReadDeadline(time.Now())
		return
	}
	req.host.begin(req, waitDiscard)
	defer req.host.end(req)
	end := time.Now().Add(h.cfg.MaxDiscardTime)
	if !req.awaitsContinue() {
		req.host.setReadDeadline(req, end)
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
		req.host.setReadDeadline(req, next)
		n, err := req.r.Body.Read(piece[:min(left, int64(len(piece)))])
		if err != nil {
			req.body.ended = errors.Is(err, io.EOF)
			return
		}
		left -= int64(n)
	}
}
