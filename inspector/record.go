package inspector

import (
	"slices"
	"time"
	"unsafe"

	"example.com/chargeingest"
)

// record is a request with its response. It does not change once it is in the log.
type record struct {
	id       int64 // Unix time in microseconds, raised so that ids strictly increase
	size     int64 // in memory
	time     time.Time
	duration time.Duration

	method, scheme, host, uri string // uri with masked values of unknown parameters
	client                    string // remote address
	header                    []headerField

	body          []byte // as it was sent, at most Config.MaxBodyBytes
	bodyTruncated bool

	status            int // 0 without a response
	responseHeader    []headerField
	response          []byte // at most Config.MaxBodyBytes
	responseTruncated bool

	// stats is the zero value if the request did not reach the handler. A request whose
	// Platform is empty is unidentified.
	stats chargeingest.RequestStats

	note string // of Note

	fields [10]headerField // memory for the headers of most requests
}

const recordBytes = 768 // as allocated

type headerField struct{ name, value string }

// keep copies the content of b, with the given numbers of header fields, into memory that the
// record shares with nothing else.
func (r *record) keep(b *buffers, fields, responseFields, violations int) {
	all := slices.Concat(b.joined, b.body, b.response)
	n, bodyEnd := len(b.joined), len(b.joined)+len(b.body)
	text := unsafe.String(unsafe.SliceData(all), n) //nolint:gosec // these bytes do not change
	c := cutter{text, b.lengths}
	r.method, r.host, r.uri, r.client = c.next(), c.next(), c.next(), c.next()
	header := r.fields[:]
	if fields+responseFields > len(header) {
		header = make([]headerField, fields+responseFields)
	}
	for i := range fields + responseFields {
		header[i] = headerField{c.next(), c.next()}
	}
	r.header, r.responseHeader = header[:fields:fields], header[fields:fields+responseFields]
	r.note, r.stats.RequestID, r.stats.Subject, r.stats.Field = c.next(), c.next(), c.next(), c.next()
	r.stats.Method, r.stats.Violations = r.method, c.violations(r.stats.Violations[:violations])
	r.body, r.response = all[n:bodyEnd:bodyEnd], all[bodyEnd:]

	const fieldBytes, violationBytes = 32, 48
	r.size = recordBytes + int64(cap(all)) + int64(len(r.stats.Violations))*violationBytes
	if len(header) > len(r.fields) {
		r.size += int64(len(header)) * fieldBytes
	}
}
