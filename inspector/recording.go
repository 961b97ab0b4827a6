package inspector

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"

	"example.com/chargeingest"
)

// Goroutines that use a recording can outlive the request.
type recording struct {
	context.Context
	inspector *Inspector
	request   *http.Request
	response  http.ResponseWriter

	mu       sync.Mutex
	record   *record
	buffers  *buffers // nil after the end
	reserved int64    // of Inspector.held

	fields, responseFields int // of headers

	received, sent         int64 // bytes of the body and of the response
	bodyEnded              bool
	bodyFull, responseFull bool // keep no more
	status                 int
	flushed, hijacked      bool
}

func (i *Inspector) begin(w http.ResponseWriter, r *http.Request) *recording {
	b := i.pool.get()
	rec := &recording{Context: r.Context(), inspector: i, request: r, response: w, record: i.requests.newRecord(i.now()), buffers: b}
	for _, text := range []string{r.Method, r.Host, requestURI(r), r.RemoteAddr} {
		b.add(text)
	}
	rec.fields = b.addHeader(r.Header)
	return rec
}

func (rec *recording) observe(_ context.Context, stats chargeingest.RequestStats) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.buffers != nil {
		rec.record.stats = stats
	}
}

func (rec *recording) addNote(text string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.buffers == nil {
		return
	}
	if rec.record.note != "" {
		text = rec.record.note + "; " + text
	}
	rec.record.note = text[:min(len(text), maxText+1)] // add cuts it
}

func (rec *recording) addBody(p []byte, err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.received += int64(len(p))
	rec.bodyEnded = rec.bodyEnded || err == io.EOF //nolint:errorlint // io.Reader
	if rec.buffers != nil && !rec.bodyFull {
		rec.buffers.body, rec.bodyFull = appendKept(rec, rec.buffers.body, p, rec.request.ContentLength)
	}
}

func addResponse[T string | []byte](rec *recording, p T) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.sent += int64(len(p))
	if rec.buffers != nil && !rec.responseFull && rec.request.Method != http.MethodHead {
		rec.buffers.response, rec.responseFull = appendKept(rec, rec.buffers.response, p, 0)
	}
}

func appendKept[T string | []byte](rec *recording, kept []byte, p T, expected int64) ([]byte, bool) {
	limit := rec.inspector.cfg.MaxBodyBytes
	fits := min(len(p), limit-len(kept))
	if needed := len(kept) + fits; needed > cap(kept) {
		size := 2 * cap(kept)
		if expected > 0 {
			size = int(min(expected, 8*int64(needed))) // the client can lie
		}
		size = min(max(needed, size), limit)
		if !rec.reserve(int64(size)) {
			return kept, true
		}
		kept = append(make([]byte, 0, size), kept...)
	}
	return append(kept, p[:fits]...), fits < len(p)
}

func (rec *recording) reserve(n int64) bool {
	if n <= pooledBytes {
		return true
	}
	held := &rec.inspector.held
	if held.Add(n) > rec.inspector.cfg.MaxBytes {
		held.Add(-n)
		return false
	}
	rec.reserved += n
	return true
}

func (rec *recording) addStatus(status int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.setStatus(status)
}

func (rec *recording) setStatus(status int) {
	informational := status < http.StatusOK && status != http.StatusSwitchingProtocols
	if rec.status == 0 && rec.buffers != nil && !informational {
		rec.status = status
		rec.responseFields = rec.buffers.addHeader(rec.response.Header())
	}
}

func (rec *recording) setFlushed() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.flushed = true
}

func (rec *recording) setHijacked() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.hijacked = true
}

// responded reports whether the client can have got a part of the response, which net/http
// may buffer until a panic.
func (rec *recording) responded(returned bool) bool {
	const buffered = 6 << 10
	return rec.status != 0 && (returned || rec.flushed || rec.hijacked || rec.sent > buffered)
}

func (rec *recording) end(returned bool) *record {
	now := rec.inspector.now()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if returned && !rec.hijacked {
		rec.setStatus(http.StatusOK)
	}
	b := rec.buffers
	rec.buffers = nil
	defer func() {
		rec.inspector.held.Add(-rec.reserved)
		rec.inspector.pool.put(b)
	}()
	r := rec.record
	for _, text := range []string{r.note, r.stats.RequestID, r.stats.Subject, r.stats.Field} {
		b.add(text)
	}
	violations := b.addViolations(r.stats.Violations)
	if !b.hideSecrets() {
		rec.bodyFull, rec.responseFull = true, true
	}
	r.keep(b, rec.fields, rec.responseFields, violations)
	r.duration, r.scheme = now.Sub(r.time), scheme(rec.request)
	if r.stats.BodyDiscarded {
		r.duration = r.stats.Duration
	}
	r.bodyTruncated = rec.bodyTruncated()
	if rec.responded(returned) {
		r.status, r.responseTruncated = rec.status, rec.responseFull
	} else {
		r.responseHeader, r.response = "", nil
	}
	return r
}

func (rec *recording) bodyTruncated() bool {
	switch length := rec.request.ContentLength; {
	case rec.request.Body == nil || rec.request.Body == http.NoBody:
		return false
	case length >= 0:
		return rec.bodyFull || rec.received < length
	default:
		return rec.bodyFull || !rec.bodyEnded
	}
}

func scheme(r *http.Request) string {
	if r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https") {
		return "https"
	}
	return "http"
}
