package chargeclient

import (
	"errors"

	"example.com/chargeingest"
)

var errSkeleton = errors.New("chargeclient: not implemented yet")

// Error is a failed request. It is an [chargeingest.ErrOutcomeUnknown] if its events may be
// stored; otherwise nothing of the request was stored.
type Error struct {
	Status     int // 0 without a complete response
	Code       chargeingest.Code
	Message    string
	Field      string // such as charge_datas.3.value.number, where 3 is the caller's index
	ResourceID string
	Violations []chargeingest.Violation

	RequestID string // X-Request-Id of the response
	Attempts  int    // number of times the request was sent

	cause error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause of a request without a response.
func (e *Error) Unwrap() error { return e.cause }
