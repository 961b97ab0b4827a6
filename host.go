package chargeingest

import (
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
