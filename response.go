package chargeingest

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

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
