package inspector

import (
	"time"

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
}

type headerField struct{ name, value string }

// keepBodies copies body and response from buffers.
func (r *record) keepBodies() {
	if len(r.body)+len(r.response) == 0 {
		r.body, r.response = nil, nil
		return
	}
	n := len(r.body)
	text := append(append(make([]byte, 0, n+len(r.response)), r.body...), r.response...)
	r.body, r.response = text[:n:n], text[n:]
}

// memory is without the texts.
func (r *record) memory() int64 {
	const structBytes, fieldBytes, violationBytes = 512, 32, 48
	return structBytes + int64(len(r.body)+len(r.response)) +
		int64(len(r.header)+len(r.responseHeader))*fieldBytes + int64(len(r.stats.Violations))*violationBytes
}
