package chargeingest

import (
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

// status is the HTTP status of a code. Two codes have a second one that the
// place of the error sets: BAD_REQUEST 413, INTERNAL_ERROR 503.
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

// resourceType is the resource_type of errors that name an event.
const resourceType = objectType

// Violation is one rule that a request breaks.
type Violation struct {
	Code    Code
	Field   string // dotted path, such as charge_datas.3.period.end_at
	Message string
}

// Error is an answer of the endpoint that is not a success. Everything in it
// but the cause is for the client.
type Error struct {
	Status     int // HTTP status
	Code       Code
	Message    string
	Field      string // dotted path; empty where the error is not of a field
	ResourceID string // id of the event that the error is about, or empty

	// Violations is every rule that the request breaks, in the fixed order of
	// the contract; the first is the error itself. Only for field errors.
	Violations []Violation

	// RetryAfter is set where sending the same request again is safe and may
	// succeed.
	RetryAfter time.Duration

	cause error
}

// Error returns status, code and message.
func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
}

// Unwrap returns the cause, which clients never see; nil where there is none.
func (e *Error) Unwrap() error { return e.cause }

func newError(code Code, message string) *Error {
	return &Error{Status: code.status(), Code: code, Message: message}
}

func fieldError(code Code, field, message string) *Error {
	return violationsError([]Violation{{Code: code, Field: field, Message: message}})
}

// violationsError makes the error of violations that are in their order.
func violationsError(violations []Violation) *Error {
	first := violations[0]
	return &Error{
		Status: first.Code.status(), Code: first.Code,
		Message: first.Message, Field: first.Field, Violations: violations,
	}
}

// internalError is a bug, or an outcome that is unknown and not safe to repeat.
func internalError(cause error) *Error {
	e := newError(CodeInternalError, "internal error; it is not known whether the request took effect, so do not repeat it blindly")
	e.cause = cause
	return e
}

// unavailableError is a failure after which sending again is safe.
func unavailableError(message string, cause error) *Error {
	e := newError(CodeInternalError, message)
	e.Status = http.StatusServiceUnavailable
	e.RetryAfter = retryAfter
	e.cause = cause
	return e
}

// retryAfter is how long clients are asked to wait: long enough for a full
// queue to empty, short enough not to pile work up.
const retryAfter = time.Second

func tooLargeError(limit int64) *Error {
	e := newError(CodeBadRequest, fmt.Sprintf("the body is larger than %d bytes, decompressed; send fewer events at once", limit))
	e.Status = http.StatusRequestEntityTooLarge
	return e
}

func answerTooLargeError(cause error) *Error {
	e := newError(CodeBadRequest, fmt.Sprintf("the stored events that this batch repeats are more than %d bytes larger than those that it has; nothing was stored, send fewer events at once", limits.MaxExcessBytes))
	e.Status = http.StatusRequestEntityTooLarge
	e.cause = cause
	return e
}

// Bounds of an error answer.
const (
	maxViolations = schemacheck.MaxViolations
	maxErrorBytes = 16 << 10
)

// body is the error as JSON.
func (e *Error) body() []byte {
	enc := encoder{text: make([]byte, 1, 512)}
	enc.text[0] = '{'
	kind := "INVALID_REQUEST"
	if e.Status >= http.StatusInternalServerError {
		kind = "API_ERROR"
	}
	enc.member("type", kind)
	enc.member("code", string(e.Code))
	enc.member("message", e.Message)
	if e.Field != "" {
		enc.member("field", e.Field)
	}
	if e.ResourceID != "" {
		enc.member("resource_id", e.ResourceID)
		enc.member("resource_type", resourceType)
	}
	if len(e.Violations) > 0 {
		enc.violations(e.Violations)
	}
	enc.close()
	return append(enc.text, '\n')
}
