package chargeingest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/schemacheck"
)

// Code is the machine-readable reason of an error.
type Code string

// The codes of the contract.
const (
	CodeMissingField           Code = "MISSING_FIELD"
	CodeInvalidField           Code = "INVALID_FIELD"
	CodeBadRequest             Code = "BAD_REQUEST"
	CodeMissingVersion         Code = "MISSING_VERSION"
	CodeUnsupportedVersion     Code = "UNSUPPORTED_VERSION"
	CodeUnauthorised           Code = "UNAUTHORISED"
	CodeUserNotAllowed         Code = "USER_NOT_ALLOWED"
	CodeResourceNotFound       Code = "RESOURCE_NOT_FOUND"
	CodeInvalidOperation       Code = "INVALID_OPERATION"
	CodeResourceAlreadyExists  Code = "RESOURCE_ALREADY_EXISTS"
	CodeIdempotencyCheckFailed Code = "IDEMPOTENCY_CHECK_FAILED"
	CodeUnsupportedMediaType   Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeInternalError          Code = "INTERNAL_ERROR"
)

// status returns the usual HTTP status: BAD_REQUEST can also be 413, INTERNAL_ERROR 503.
func (c Code) status() int {
	switch c {
	case CodeMissingField, CodeInvalidField, CodeBadRequest, CodeMissingVersion, CodeUnsupportedVersion:
		return http.StatusBadRequest
	case CodeUnauthorised:
		return http.StatusUnauthorized
	case CodeUserNotAllowed:
		return http.StatusForbidden
	case CodeResourceNotFound:
		return http.StatusNotFound
	case CodeInvalidOperation:
		return http.StatusMethodNotAllowed
	case CodeResourceAlreadyExists, CodeIdempotencyCheckFailed:
		return http.StatusConflict
	case CodeUnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	}
	return http.StatusInternalServerError
}

const resourceType = objectType

// Violation is one rule that a request violates.
type Violation struct {
	Code    Code
	Field   string // dotted path, such as charge_datas.3.period.end_at
	Message string
}

// Error is an error response. The client gets all fields, but not the cause that Unwrap
// returns.
type Error struct {
	Status     int
	Code       Code
	Message    string
	Field      string // dotted path; empty if the error is not about a field
	ResourceID string // id of the event that the error is about, or empty

	// Violations lists all violated rules in the order of the contract, the first of
	// which is the error itself. It is empty unless the error is about a field.
	Violations []Violation

	// RetryAfter is set if retrying the same request is safe and may succeed.
	RetryAfter time.Duration

	cause error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.cause }

func newError(code Code, message string) *Error {
	return &Error{Status: code.status(), Code: code, Message: message}
}

func fieldError(code Code, field, message string) *Error {
	return violationsError([]Violation{{Code: code, Field: field, Message: message}})
}

func violationsError(violations []Violation) *Error {
	first := violations[0]
	return &Error{
		Status: first.Code.status(), Code: first.Code,
		Message: first.Message, Field: first.Field, Violations: violations,
	}
}

// internalError is the response to a bug after which nothing was stored.
func internalError(cause error) *Error {
	e := newError(CodeInternalError, "internal error; nothing was stored")
	e.cause = cause
	return e
}

// outcomeUnknownError is the response to an unknown outcome if a retry is not safe.
func outcomeUnknownError(cause error) *Error {
	e := newError(CodeInternalError, "internal error; it is unknown whether the events were stored, so check before you send them again")
	e.cause = asOutcomeUnknown(cause)
	return e
}

func asOutcomeUnknown(cause error) error {
	if errors.Is(cause, ErrOutcomeUnknown) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause)
}

func unavailableError(message string, cause error) *Error {
	e := newError(CodeInternalError, message)
	e.Status = http.StatusServiceUnavailable
	e.RetryAfter = retryAfter
	e.cause = cause
	return e
}

// retryAfter is the default Retry-After: long enough for a full queue to empty.
const retryAfter = time.Second

func tooLargeError(limit int64) *Error {
	e := newError(CodeBadRequest, fmt.Sprintf("the body is larger than %d bytes, decompressed; send fewer events at once", limit))
	e.Status = http.StatusRequestEntityTooLarge
	return e
}

func responseTooLargeError(cause error) *Error {
	e := newError(CodeBadRequest, fmt.Sprintf("the stored events that this batch repeats are more than %d bytes larger than the events sent; nothing was stored, send fewer events at once", limits.MaxExcessBytes))
	e.Status = http.StatusRequestEntityTooLarge
	e.cause = cause
	return e
}

const (
	maxViolations = schemacheck.MaxViolations
	maxErrorBytes = 16 << 10
)

func (e *Error) body() []byte {
	enc := encoder{text: make([]byte, 1, 512)}
	enc.text[0] = '{'
	kind := "INVALID_REQUEST"
	if e.Status >= http.StatusInternalServerError {
		kind = "API_ERROR"
	}
	enc.field("type", kind)
	enc.field("code", string(e.Code))
	enc.field("message", e.Message)
	if e.Field != "" {
		enc.field("field", e.Field)
	}
	if e.ResourceID != "" {
		enc.field("resource_id", e.ResourceID)
		enc.field("resource_type", resourceType)
	}
	if len(e.Violations) > 0 {
		enc.violations(e.Violations)
	}
	enc.close()
	return append(enc.text, '\n')
}
