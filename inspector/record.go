package inspector

import (
	"time"

	"example.com/chargeingest"
)

// record is a request with its response. It does not change once it is in the log.
type record struct {
	id       int64 // Unix time in microseconds, raised so that ids strictly increase
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

// scope selects the records that a viewer may see.
type scope struct {
	platform     string
	unidentified bool // in addition
}
