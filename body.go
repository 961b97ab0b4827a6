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

// bodyBuffers reuses buffers, the largest allocation of a request.
type bodyBuffers struct{ small, large sync.Pool }

const (
	firstBuffer = 4 << 10

	maxPooledBuffer = 256 << 10
)

func (p *bodyBuffers) get() *bytes.Buffer {
	if b, ok := p.small.Get().(*bytes.Buffer); ok {
		return b
	}
	return bytes.NewBuffer(make([]byte, 0, firstBuffer))
}

// grow moves the content of b to a buffer of n bytes and invalidates b.
func (p *bodyBuffers) grow(b *bytes.Buffer, n int) *bytes.Buffer {
	if n <= b.Cap() {
		return b
	}
	var larger *bytes.Buffer
	if n <= maxPooledBuffer {
		larger, _ = p.large.Get().(*bytes.Buffer)
	}
	if larger == nil || larger.Cap() < n {
		larger = bytes.NewBuffer(make([]byte, 0, n))
	}
	larger.Write(b.Bytes())
	p.put(b)
	return larger
}

func (p *bodyBuffers) put(b *bytes.Buffer) {
	b.Reset()
	switch size := b.Cap(); {
	case size < firstBuffer || size > maxPooledBuffer:
	case size <= 2*firstBuffer:
		p.small.Put(b)
	default:
		p.large.Put(b)
	}
}

func checkMedia(req *request) (gzipped bool, err error) {
	types := req.r.Header["Content-Type"]
	if len(types) != 1 || !isJSON(types[0]) {
		req.header().Set("Accept-Post", "application/json")
		return false, newError(CodeUnsupportedMediaType, "Content-Type must be application/json")
	}
	encodings := req.r.Header["Content-Encoding"]
	if len(encodings) == 0 {
		return false, nil
	}
	const maxLength = 100 // with spaces
	if len(encodings) == 1 && len(encodings[0]) <= maxLength {
		switch strings.ToLower(strings.TrimSpace(encodings[0])) {
		case "gzip":
			return true, nil
		case "", "identity":
			return false, nil
		}
	}
	req.header().Set("Accept-Post", "application/json")
	req.header().Set("Accept-Encoding", "gzip")
	return false, newError(CodeUnsupportedMediaType, "Content-Encoding must be gzip or absent")
}

func isJSON(contentType string) bool {
	const maxLength = 256 // RFC 6838 allows 127 characters for each half
	kind, _, _ := strings.Cut(contentType, ";")
	if kind = strings.TrimSpace(kind); len(kind) > maxLength {
		return false
	}
	subtype, ok := strings.CutPrefix(strings.ToLower(kind), "application/")
	return ok && (subtype == "json" || len(subtype) > len("+json") && strings.HasSuffix(subtype, "+json"))
}

type limitedBody struct {
	source io.Reader
	left   int64

	begun  bool // the first read sends a 100 Continue
	ended  bool
	failed bool // the rest will not arrive
}

var errBodyTooLarge = errors.New("body too large")

func (b *limitedBody) Read(p []byte) (int, error) {
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

// readBody returns a buffer that the caller puts back, also after an error.
func (h *Handler) readBody(req *request, gzipped bool) (*bytes.Buffer, error) {
	buf := h.buffers.get()
	limit := h.cfg.MaxBodyBytes
	sent := limit
	if gzipped {
		// The limit is for the decompressed body. The compressed one is hardly ever
		// larger.
		sent += limit/8 + 64<<10
	}
	if req.r.ContentLength > sent {
		return buf, tooLargeError(limit)
	}
	if req.r.Body == nil { // no server made the request
		return buf, nil
	}
	req.body.source, req.body.left = req.r.Body, sent
	req.server.startWait(req, waitArrival)
	defer req.server.endWait(req)
	if !gzipped {
		buf, err := h.fill(req, &req.body, buf, 0, req.r.ContentLength)
		return buf, h.readFailure(req, err, "the body did not arrive completely")
	}
	zipped, err := gzip.NewReader(&req.body)
	if err != nil {
		return buf, h.readFailure(req, err, "the body is not in gzip format, although Content-Encoding is gzip")
	}
	// The decompressor needs 40 KiB after the gzip header, even if the rest never arrives.
	inflater := min(40<<10, h.cfg.MaxInFlightBytes/1024)
	if !req.held.Resize(inflater) {
		return buf, tooManyBytesError()
	}
	buf, err = h.fill(req, zipped, buf, inflater, -1)
	return buf, h.readFailure(req, err, "the gzip body is damaged or did not arrive completely")
}

// fill reads src into buf, which it may replace. It reserves extra and at most twice the
// received bytes, so that an announced body that is not sent holds nothing. declared is
// negative if the length is unknown.
func (h *Handler) fill(req *request, src io.Reader, buf *bytes.Buffer, extra, declared int64) (*bytes.Buffer, error) {
	const chunk = 32 << 10
	limit := h.cfg.MaxBodyBytes
	defer func() { req.bytes = int64(buf.Len()) }()
	for room := int64(firstBuffer); ; {
		if int64(buf.Len()) == room {
			next := max(2*room, chunk)
			if declared >= room {
				next = min(next, declared+1) // one byte to detect the end
			}
			room = min(next, limit+1)
			if !req.held.Resize(extra + room) {
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
		case room == firstBuffer && n > 0 && !req.held.Resize(extra+int64(buf.Len())):
			return buf, tooManyBytesError()
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

func (h *Handler) readFailure(req *request, err error, message string) error {
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
	case errors.Is(err, os.ErrDeadlineExceeded) && req.server.isStopping():
		return unavailableError("the service is shutting down; nothing was stored, send the request again", err)
	}
	e := newError(CodeBadRequest, message)
	e.cause = fmt.Errorf("read body: %w", err)
	return e
}
