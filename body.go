package chargeingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// byteBudget bounds the bytes of bodies and responses that requests hold at a
// time. The last eighth is for platforms that hold little or nothing, so that slow
// uploads and downloads of one platform do not keep the others out.
type byteBudget struct {
	limit int64

	mu   sync.Mutex
	used int64
	by   map[string]int64 // by platform; no zero entries
}

// reservation is what one request holds of a budget.
type reservation struct {
	budget   *byteBudget
	platform string

	bytes int64 // guarded by budget.mu, as is ended
	ended bool
}

// end gives everything back. A store that still works for a request that has ended
// gets no more.
func (r *reservation) end() {
	r.budget.mu.Lock()
	defer r.budget.mu.Unlock()
	r.set(0)
	r.ended = true
}

// resize changes the reservation to n bytes. If there is no room for more it
// changes nothing and returns false. A request that is the only one with a
// reservation always has room: its size has bounds of its own.
func (r *reservation) resize(n int64) bool {
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	more := n - r.bytes
	others := b.used - r.bytes
	held := b.by[r.platform] - r.bytes // by other requests of the platform
	if more > 0 && r.ended || more > 0 && others > 0 && (others+n > b.limit || held > 0 && held+n > b.limit-b.limit/8) {
		return false
	}
	r.set(n)
	return true
}

// set changes the reservation. The budget is locked.
func (r *reservation) set(n int64) {
	b := r.budget
	if b.by == nil {
		b.by = make(map[string]int64)
	}
	more := n - r.bytes
	r.bytes = n
	b.used += more
	if b.by[r.platform] += more; b.by[r.platform] == 0 {
		delete(b.by, r.platform)
	}
}

// bodyBuffers are reused: a body is large against everything else that a
// request needs.
type bodyBuffers struct{ pool sync.Pool }

func (p *bodyBuffers) get() *bytes.Buffer {
	if b, ok := p.pool.Get().(*bytes.Buffer); ok {
		b.Reset()
		return b
	}
	return new(bytes.Buffer)
}

// keptBody is the largest buffer that is kept, in bytes.
const keptBody = 256 << 10

// put keeps a buffer for the next request, but not a huge one for ever.
func (p *bodyBuffers) put(b *bytes.Buffer) {
	if b.Cap() <= keptBody {
		p.pool.Put(b)
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

// bodySize is what a body may come to, decompressed: what is reserved for it.
func (h *Handler) bodySize(r *http.Request, gzipped bool) int64 {
	// A byte of deflate makes at most 1,032 (zlib.net/zlib_tech.html).
	const expansion = 1032
	size := h.cfg.MaxBodyBytes
	if r.ContentLength >= 0 {
		declared := r.ContentLength
		if gzipped && declared < size {
			declared *= expansion
		}
		size = min(size, declared)
	}
	return size
}

// readBody reads the body into dst, whole or not at all.
func (h *Handler) readBody(x *exchange, gzipped bool, dst *bytes.Buffer) error {
	limit := h.cfg.MaxBodyBytes
	sent := limit
	if gzipped {
		// What counts is what comes out. What goes in is not held in memory,
		// and honest gzip is hardly ever larger.
		sent += limit/8 + 64<<10
	}
	if x.r.ContentLength > sent {
		return tooLargeError(limit)
	}
	if x.r.Body == nil { // a request that was made by hand, not by a server
		return nil
	}
	body := io.Reader(http.MaxBytesReader(x.w, x.r.Body, sent))
	if !gzipped && x.r.ContentLength > 0 {
		dst.Grow(int(x.r.ContentLength) + bytes.MinRead)
	}
	if gzipped {
		zipped, err := gzip.NewReader(body)
		if err != nil {
			return h.readFailure(err, "the body is not gzip, as Content-Encoding says")
		}
		body = io.LimitReader(zipped, limit+1)
	}
	n, err := dst.ReadFrom(body)
	x.bytes = n
	switch {
	case n > limit:
		return tooLargeError(limit)
	case err != nil && gzipped:
		return h.readFailure(err, "the gzip body is damaged or did not arrive whole")
	case err != nil:
		return h.readFailure(err, "the body did not arrive whole")
	}
	return nil
}

func (h *Handler) readFailure(err error, message string) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return tooLargeError(h.cfg.MaxBodyBytes)
	}
	e := newError(CodeBadRequest, message)
	e.cause = fmt.Errorf("read body: %w", err)
	return e
}
