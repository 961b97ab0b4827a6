package chargeingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

// bodyBuffers are reused: a body is large against everything else that a
// request needs.
type bodyBuffers struct{ small, large sync.Pool }

const (
	// firstPiece is the size of the buffer with which a request waits for its body.
	// Those of clients that send nothing hold no more.
	firstPiece = 4 << 10

	// keptBody is the largest buffer that is kept, in bytes.
	keptBody = 256 << 10
)

// get returns a buffer with room for firstPiece.
func (p *bodyBuffers) get() *bytes.Buffer {
	if b, ok := p.small.Get().(*bytes.Buffer); ok {
		return b
	}
	return bytes.NewBuffer(make([]byte, 0, firstPiece))
}

// grow returns a buffer with the content of b and room for n bytes in all. b must
// not be used any more.
func (p *bodyBuffers) grow(b *bytes.Buffer, n int) *bytes.Buffer {
	if n <= b.Cap() {
		return b
	}
	var larger *bytes.Buffer
	if n <= keptBody {
		larger, _ = p.large.Get().(*bytes.Buffer)
	}
	if larger == nil || larger.Cap() < n {
		larger = bytes.NewBuffer(make([]byte, 0, n))
	}
	larger.Write(b.Bytes())
	p.put(b)
	return larger
}

// put keeps a buffer for the next request, but not a huge one for ever.
func (p *bodyBuffers) put(b *bytes.Buffer) {
	b.Reset()
	switch size := b.Cap(); {
	case size < firstPiece || size > keptBody:
	case size <= 2*firstPiece:
		p.small.Put(b)
	default:
		p.large.Put(b)
	}
}

// checkMedia refuses a body that is not JSON, plain or gzip.
func checkMedia(x *exchange) (gzipped bool, err error) {
	types := x.r.Header.Values("Content-Type")
	if len(types) != 1 || !isJSON(types[0]) {
		x.header().Set("Accept-Post", "application/json")
		return false, newError(CodeUnsupportedMediaType, "Content-Type must be application/json")
	}
	encodings := x.r.Header.Values("Content-Encoding")
	if len(encodings) == 0 {
		return false, nil
	}
	const longest = 100 // of a header that is accepted, with spaces
	if len(encodings) == 1 && len(encodings[0]) <= longest {
		switch strings.ToLower(strings.TrimSpace(encodings[0])) {
		case "gzip":
			return true, nil
		case "", "identity":
			return false, nil
		}
	}
	x.header().Set("Accept-Post", "application/json")
	x.header().Set("Accept-Encoding", "gzip")
	return false, newError(CodeUnsupportedMediaType, "Content-Encoding must be gzip or absent")
}

// isJSON says that a media type is application/json or application/*+json,
// whatever its parameters and its case.
func isJSON(contentType string) bool {
	const longest = 256 // RFC 6838 has 127 characters for each half
	kind, _, _ := strings.Cut(contentType, ";")
	if kind = strings.TrimSpace(kind); len(kind) > longest {
		return false
	}
	subtype, ok := strings.CutPrefix(strings.ToLower(kind), "application/")
	return ok && (subtype == "json" || len(subtype) > len("+json") && strings.HasSuffix(subtype, "+json"))
}

// arrivingBody is the body of a request as it arrives.
type arrivingBody struct {
	source io.Reader
	left   int64 // bytes that may still come

	begun  bool // reading, which sends a 100 Continue
	ended  bool
	failed bool // the rest will not come
}

var errBodyTooLarge = errors.New("body too large")

// Read implements [io.Reader].
func (b *arrivingBody) Read(p []byte) (int, error) {
	b.begun = true
	if b.left < 0 {
		return 0, errBodyTooLarge
	}
	p = p[:min(int64(len(p)), b.left+1)]
	n, err := b.source.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF:
		b.ended = true
	case err != nil:
		b.failed = true
	}
	if b.left < 0 {
		return n - 1, errBodyTooLarge
	}
	return n, err
}

// readBody reads the body into a buffer, whole or not at all. The buffer is to be
// put back in both cases.
func (h *Handler) readBody(x *exchange, gzipped bool) (*bytes.Buffer, error) {
	buf := h.buffers.get()
	limit := h.cfg.MaxBodyBytes
	sent := limit
	if gzipped {
		// What counts is what comes out. What goes in is not held in memory,
		// and honest gzip is hardly ever larger.
		sent += limit/8 + 64<<10
	}
	if x.r.ContentLength > sent {
		return buf, tooLargeError(limit)
	}
	if x.r.Body == nil { // a request that was made by hand, not by a server
		return buf, nil
	}
	x.body.source, x.body.left = x.r.Body, sent
	x.host.begin(x, waitArrival)
	defer x.host.end(x)
	if !gzipped {
		buf, err := h.fill(x, &x.body, buf, 0, x.r.ContentLength)
		return buf, h.readFailure(x, err, "the body did not arrive whole")
	}
	zipped, err := gzip.NewReader(&x.body)
	if err != nil {
		return buf, h.readFailure(x, err, "the body is not gzip, as Content-Encoding says")
	}
	// Decompressing takes 40 KiB, which only counts if it is little of the budget.
	// The header of gzip is enough for that: the rest may never come.
	decoder := min(40<<10, h.cfg.MaxInFlightBytes/1024)
	if !x.held.Resize(decoder) {
		return buf, tooManyBytesError()
	}
	buf, err = h.fill(x, zipped, buf, decoder, -1)
	return buf, h.readFailure(x, err, "the gzip body is damaged or did not arrive whole")
}

// fill reads src into buf, which it may replace, and reserves what it holds: besides
// bytes, the room for what has arrived, doubled. Clients that announce a body and do
// not send it hold nothing. declared is the number of bytes to come, negative if
// it is not known.
func (h *Handler) fill(x *exchange, src io.Reader, buf *bytes.Buffer, besides, declared int64) (*bytes.Buffer, error) {
	const chunk = 32 << 10
	limit := h.cfg.MaxBodyBytes
	defer func() { x.bytes = int64(buf.Len()) }()
	for room := int64(firstPiece); ; {
		if int64(buf.Len()) == room {
			next := max(2*room, chunk)
			if declared >= room {
				next = min(next, declared+1) // the end takes a byte of room
			}
			room = min(next, limit+1)
			if !x.held.Resize(besides + room) {
				return buf, tooManyBytesError()
			}
			buf = h.buffers.grow(buf, int(room))
		}
		space := buf.AvailableBuffer()
		n, err := src.Read(space[:min(int64(cap(space)), room-int64(buf.Len()))])
		buf.Write(space[:n])
		switch {
		case int64(buf.Len()) > limit:
			return buf, errBodyTooLarge
		case room == firstPiece && n > 0 && !x.held.Resize(besides+int64(buf.Len())):
			return buf, tooManyBytesError()
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// readFailure is the error of a body that could not be read, or nil.
func (h *Handler) readFailure(x *exchange, err error, message string) error {
	if err == nil {
		return nil
	}
	var refused *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, errBodyTooLarge) || errors.As(err, &tooLarge):
		return tooLargeError(h.cfg.MaxBodyBytes)
	case errors.Is(err, os.ErrDeadlineExceeded) && x.host.isStopping():
		return unavailableError("the service is shutting down; nothing was stored, send again", err)
	}
	e := newError(CodeBadRequest, message)
	e.cause = fmt.Errorf("read body: %w", err)
	return e
}
