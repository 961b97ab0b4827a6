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
	// smallWrite is how long a client may take to accept a refusal or a response of
	// one chunk.
	smallWrite = 2 * time.Second

	// chunkWrite is how long a client may take to accept each chunk of a larger
	// response, besides the time for what is buffered before it.
	chunkWrite = 10 * time.Second

	// The operating system buffers up to socketBuffer of a response. Once its buffer
	// is full it accepts more only after a third has been read, for which a client
	// has the time that reading all takes at slowestRead bytes a second.
	socketBuffer = 4 << 20
	slowestRead  = 32 << 10

	// arrivalGrace is how long bodies may still arrive after a shutdown has begun.
	arrivalGrace = time.Second

	// discardGrace is the same for bodies that are discarded.
	discardGrace = 250 * time.Millisecond
)

// hosts are the servers that a handler is mounted in. But for the last it does not
// keep them in memory: tests make thousands.
type hosts struct {
	last atomic.Pointer[host] // most handlers have one server
	mu   sync.Mutex
	all  map[weak.Pointer[http.Server]]weak.Pointer[host]
}

// of returns the host of a request, or nil if it comes from no http.Server.
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
		found = &host{server: server, waits: make(map[*exchange]wait)}
		h.all[key] = weak.Make(found)
		server.RegisterOnShutdown(found.stop) // which keeps the host as long as its server
	}
	h.last.Store(found)
	return found
}

// wait is what an exchange waits for its client to do.
type wait int

const (
	waitArrival wait = iota // to send its body
	waitDiscard             // to send a body that is discarded
	waitWrite               // to read its response
)

// host is an http.Server around the handler. Its Shutdown waits for every
// request, so that requests whose clients do nothing are bounded when it begins.
type host struct {
	server  *http.Server
	stopped atomic.Bool

	mu    sync.Mutex
	waits map[*exchange]wait
}

// begin records that x waits for its client. A nil host records nothing.
func (h *host) begin(x *exchange, w wait) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits[x] = w
	if h.stopped.Load() {
		x.bound(w)
	}
}

// end ends what begin began.
func (h *host) end(x *exchange) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waits, x)
	if h.stopped.Load() && x.body.ended {
		// The connection is watched for its end now, without a deadline.
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Time{})
	}
}

// stop bounds everything that waits for a client. A request leaves waits before
// its handler returns, so that no deadline is set on a later one.
func (h *host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped.Store(true)
	for x, w := range h.waits {
		x.bound(w)
	}
}

// setReadDeadline sets a deadline unless the server is shutting down, which has
// set its own.
func (h *host) setReadDeadline(x *exchange, deadline time.Time) {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.stopped.Load() {
			return
		}
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(deadline)
}

// isStopping reports whether the server is shutting down.
func (h *host) isStopping() bool { return h != nil && h.stopped.Load() }

// bound sets the deadline of a shutdown. Writers that do not support deadlines
// stay without one.
func (x *exchange) bound(w wait) {
	c, now := http.NewResponseController(x.w), time.Now()
	switch w {
	case waitArrival:
		_ = c.SetReadDeadline(now.Add(arrivalGrace))
	case waitDiscard:
		_ = c.SetReadDeadline(now.Add(discardGrace))
	case waitWrite:
		_ = c.SetWriteDeadline(now.Add(smallWrite))
	}
}

// allowWrite gives the client d to accept what is written next, but no more than
// the WriteTimeout of its server allows.
func (x *exchange) allowWrite(d time.Duration) error {
	if x.host.isStopping() {
		d = min(d, smallWrite)
	}
	deadline := time.Now().Add(d)
	if own := x.writeTimeout(); !own.IsZero() && own.Before(deadline) {
		deadline = own
	}
	return http.NewResponseController(x.w).SetWriteDeadline(deadline)
}

// chunkPatience is how long the client may take to accept the next chunk.
func (x *exchange) chunkPatience() time.Duration {
	return chunkWrite + time.Duration(min(x.sent, socketBuffer))*time.Second/slowestRead
}

// writeTimeout is when the WriteTimeout of the server is over; zero if it has none.
func (x *exchange) writeTimeout() time.Time {
	if d := x.host.server.WriteTimeout; d > 0 {
		return x.began.Add(d)
	}
	return time.Time{}
}

// deliver sends what is buffered of the response. The deadline ends with it: what
// the host's middleware does after the handler must not cost the client its
// response.
//
// A response that leaves nothing of the body is only flushed by a writer that flushes
// itself. One that merely wraps another may hold the response back on purpose.
func (x *exchange) deliver() error {
	c := http.NewResponseController(x.w)
	_, flushes := x.w.(http.Flusher)
	switch {
	case x.host == nil:
		return nil
	case !flushes && !x.unread:
		_ = x.allowWrite(x.chunkPatience())
		return nil
	}
	patience := smallWrite
	if x.sent > responseChunk {
		patience = x.chunkPatience()
	}
	limited := x.allowWrite(patience) == nil
	err := c.Flush()
	if limited {
		_ = c.SetWriteDeadline(x.writeTimeout())
	}
	return err
}

const (
	// A body of at most smallBody bytes that is not needed is read before the
	// response if it arrives within smallBodyWait, so that the connection can be
	// used again. net/http reads as much, however long that takes.
	smallBody     = 256 << 10
	smallBodyWait = 10 * time.Millisecond

	// continueWait is how long a client may pause that has got its response instead
	// of a 100 Continue. Most send nothing more, some do not wait to be asked.
	continueWait = 250 * time.Millisecond
)

// leavesBody reports whether a part of the body may still be on its way. It only
// matters to HTTP/1: in HTTP/2 the stream ends.
func (x *exchange) leavesBody() bool {
	r := x.r
	return r.ProtoMajor == 1 && r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 && !x.body.ended
}

// awaitsContinue reports whether the client waits to be told to send its body.
// net/http refuses what expects anything but 100-continue.
func (x *exchange) awaitsContinue() bool {
	return !x.body.begun && x.r.ProtoAtLeast(1, 1) && x.r.Header.Get("Expect") != ""
}

// leaveBody prepares a response that does not wait for the rest of the body. The
// connection cannot be used again then. Other servers than net/http, and writers
// that do not support it, go on as without.
func (x *exchange) leaveBody() {
	if x.host == nil || !x.leavesBody() {
		return
	}
	c := http.NewResponseController(x.w)
	if n := x.r.ContentLength; n > 0 && n <= smallBody && !x.body.failed && !x.awaitsContinue() &&
		c.SetReadDeadline(time.Now().Add(smallBodyWait)) == nil {
		if _, err := io.Copy(io.Discard, x.r.Body); err == nil {
			x.body.ended = true
			return
		}
	}
	// If the header does not get through the host's middleware, net/http reads the
	// rest of the body before it responds, or closes the connection at the deadline.
	// With EnableFullDuplex it would take the rest for the next request.
	if c.SetReadDeadline(time.Now().Add(smallBodyWait)) != nil {
		return
	}
	x.header().Set("Connection", "close")
	x.unread = true
}

// discard reads what is left of the body after the response was sent. Closing the
// connection earlier would reset it under clients that read the response only
// once they have written all.
func (h *Handler) discard(x *exchange) {
	if x.body.failed && !x.host.isStopping() {
		// net/http must not wait for more either.
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now())
		return
	}
	x.host.begin(x, waitDiscard)
	defer x.host.end(x)
	end := time.Now().Add(h.cfg.MaxDiscardTime)
	if !x.awaitsContinue() {
		x.host.setReadDeadline(x, end)
		_, err := io.CopyN(io.Discard, x.r.Body, h.cfg.MaxDiscardBytes)
		x.body.ended = errors.Is(err, io.EOF)
		return
	}
	if x.r.Method == http.MethodHead {
		_, _ = x.w.Write(nil) // reading would send a 100 Continue otherwise
	}
	piece := make([]byte, 8<<10)
	for left := h.cfg.MaxDiscardBytes; left > 0; {
		next := time.Now().Add(continueWait)
		if next.After(end) {
			next = end
		}
		x.host.setReadDeadline(x, next)
		n, err := x.r.Body.Read(piece[:min(left, int64(len(piece)))])
		if err != nil {
			x.body.ended = errors.Is(err, io.EOF)
			return
		}
		left -= int64(n)
	}
}
