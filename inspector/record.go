package inspector

import (
	"slices"
	"time"
	"unsafe"

	"example.com/chargeingest"
)

// record does not change while it is in the log.
type record struct {
	memory []byte // of its texts
	listed bool   // and perhaps in use when the log drops it

	id       int64 // Unix time in microseconds, raised so that ids strictly increase
	size     int64 // in memory
	time     time.Time
	duration time.Duration

	method, scheme, host, uri string // uri with masked values of unknown parameters
	client                    string // remote address
	header                    texts

	body          []byte // as it was sent, at most Config.MaxBodyBytes
	bodyTruncated bool

	status            int // 0 without a response
	responseHeader    texts
	response          []byte // at most Config.MaxBodyBytes
	responseTruncated bool

	// stats is zero if the request did not reach the handler. An empty Platform is
	// unidentified.
	stats chargeingest.RequestStats

	note string // of Note
}

const recordBytes = 480 // as allocated

// keep copies the content of b, with the given numbers of header fields, into memory of its
// own.
func (r *record) keep(b *buffers, fields, responseFields, violations int) {
	r.body, r.response = takeLarge(&b.body), takeLarge(&b.response)
	all := r.take(len(b.texts) + len(b.body) + len(b.response))
	all = append(append(append(all, b.texts...), b.body...), b.response...)
	n, bodyEnd := len(b.texts), len(b.texts)+len(b.body)
	t := texts(unsafe.String(unsafe.SliceData(all), n)) //nolint:gosec // these bytes do not change
	r.method, r.host, r.uri, r.client = t.next(), t.next(), t.next(), t.next()
	r.header, r.responseHeader = t.cut(fields), t.cut(responseFields)
	r.note, r.stats.RequestID, r.stats.Subject, r.stats.Field = t.next(), t.next(), t.next(), t.next()
	r.stats.Method, r.stats.Violations = r.method, t.violations(r.stats.Violations[:violations])

	const violationBytes = 48
	r.size = recordBytes + int64(cap(all)+cap(r.body)+cap(r.response)) + int64(len(r.stats.Violations))*violationBytes
	if r.body == nil {
		r.body = all[n:bodyEnd:bodyEnd]
	}
	if r.response == nil {
		r.response = all[bodyEnd:]
	}
}

// take returns empty memory for n bytes.
func (r *record) take(n int) []byte {
	if cap(r.memory) < n || cap(r.memory) > 2*n {
		r.memory = slices.Grow([]byte(nil), n)
	}
	return r.memory[:0]
}

func takeLarge(buffer *[]byte) []byte {
	if cap(*buffer) <= pooledBytes {
		return nil
	}
	large := *buffer
	*buffer = nil
	return large
}
