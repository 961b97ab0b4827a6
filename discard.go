package chargeingest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

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
