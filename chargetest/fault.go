package chargetest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/chargeingest"
)

// Fault is a failure of a request. [Status], [Reset], [Delay], [StoreError], [Truncated],
// [Malformed] and [SlowBody] create one, and its methods return modified copies.
// [Server.FailNext], [Server.FailFor] and [Server.FailSometimes] inject it.
type Fault struct {
	kind        kind
	status      int
	code        string
	message     string
	field       string
	retryAfter  time.Duration
	delay       time.Duration
	bodyTime    time.Duration
	afterCommit bool
	err         error
}

type kind int

const (
	kindNone kind = iota // at most a delay
	kindStatus
	kindReset
	kindStoreError
	kindTruncated
	kindMalformed
	kindSlowBody
)

// codeTooManyRequests is an addition: the contract has no code for quotas.
const codeTooManyRequests = "TOO_MANY_REQUESTS"

// Status responds with an error, without serving the request. The status is from 400 to
// 599. The code defaults to the contract's first code for the status, or to
// TOO_MANY_REQUESTS for 429. For 503, Retry-After defaults to one second.
func Status(status int) Fault {
	f := Fault{kind: kindStatus, status: status, code: codeOf(status), message: "injected by the test"}
	if status == http.StatusServiceUnavailable {
		f.retryAfter = time.Second
	}
	return f
}

// Reset cuts the connection without serving the request. With AfterCommit, the request is
// served and only its response is lost: a client that retries without a reference or an
// Idempotency-Key is charged twice.
//
// If a reused connection is cut, net/http itself retries GET requests and requests with an
// Idempotency-Key. A request through [Server.Handler] has its connection closed, or panics
// with http.ErrAbortHandler.
func Reset() Fault { return Fault{kind: kindReset} }

// Delay waits before it serves the request, or with AfterCommit before it sends the
// response. If the client gives up meanwhile, the events are stored only with AfterCommit.
func Delay(d time.Duration) Fault { return Fault{}.Delay(d) }

// StoreError makes the store return err. If err is chargeingest.ErrNotStored, the response
// is 503; otherwise it is that of an unknown outcome. With AfterCommit, the events are
// stored nevertheless, and err must not be ErrNotStored.
func StoreError(err error) Fault { return Fault{kind: kindStoreError, err: err} }

// Truncated serves the request and cuts the connection halfway through the response.
func Truncated() Fault { return Fault{kind: kindTruncated} }

// Malformed serves the request and replaces the response's body by invalid JSON.
func Malformed() Fault { return Fault{kind: kindMalformed} }

// SlowBody serves the request and sends the response's body over the duration d.
func SlowBody(d time.Duration) Fault { return Fault{kind: kindSlowBody, bodyTime: d} }

// RetryAfter sets the Retry-After header of a [Status], rounded up to seconds. Zero removes
// it.
func (f Fault) RetryAfter(d time.Duration) Fault {
	f.retryAfter = d
	return f
}

// Code sets the error code of a [Status].
func (f Fault) Code(code chargeingest.Code) Fault {
	f.code = string(code)
	return f
}

// Message sets the error message of a [Status].
func (f Fault) Message(message string) Fault {
	f.message = message
	return f
}

// Field sets the error's field of a [Status], such as value.number.
func (f Fault) Field(path string) Fault {
	f.field = path
	return f
}

// Delay adds a delay before the fault.
func (f Fault) Delay(d time.Duration) Fault {
	f.delay = d
	return f
}

// AfterCommit serves the request first, so that its events are stored. It applies to
// [Status], [Reset], [Delay] and [StoreError]; the other faults happen after the commit
// anyway.
func (f Fault) AfterCommit() Fault {
	f.afterCommit = true
	return f
}

// String returns the Go expression of the fault.
func (f Fault) String() string {
	var s string
	switch f.kind {
	case kindNone:
		s = fmt.Sprintf("Delay(%s)", f.delay)
	case kindStatus:
		s = fmt.Sprintf("Status(%d)", f.status)
		if f.retryAfter != Status(f.status).retryAfter {
			s += fmt.Sprintf(".RetryAfter(%s)", f.retryAfter)
		}
		if f.code != codeOf(f.status) {
			s += fmt.Sprintf(".Code(%s)", f.code)
		}
	case kindReset:
		s = "Reset()"
	case kindStoreError:
		s = fmt.Sprintf("StoreError(%v)", f.err)
	case kindTruncated:
		s = "Truncated()"
	case kindMalformed:
		s = "Malformed()"
	case kindSlowBody:
		s = fmt.Sprintf("SlowBody(%s)", f.bodyTime)
	}
	if f.delay > 0 && f.kind != kindNone {
		s += fmt.Sprintf(".Delay(%s)", f.delay)
	}
	if f.afterCommit {
		s += ".AfterCommit()"
	}
	return s
}

// check returns an error if the fault is invalid.
func (f Fault) check() error {
	afterResponse := f.kind == kindTruncated || f.kind == kindMalformed || f.kind == kindSlowBody
	switch {
	case f.kind == kindNone && f.delay <= 0:
		return errors.New("empty fault: use Status, Reset, Delay (longer than 0), StoreError, Truncated, Malformed or SlowBody")
	case f.kind != kindStatus && (f.retryAfter != 0 || f.code != "" || f.message != "" || f.field != ""):
		return errors.New("RetryAfter, Code, Message and Field apply to Status only")
	case afterResponse && f.afterCommit:
		return errors.New("AfterCommit does not apply: this fault always happens after the commit")
	case f.kind == kindStatus && (f.status < 400 || f.status > 599):
		return fmt.Errorf("the status must be from 400 to 599, not %d", f.status)
	case f.kind == kindStoreError && f.err == nil:
		return errors.New("the error of StoreError is nil")
	case f.kind == kindStoreError && f.afterCommit && errors.Is(f.err, chargeingest.ErrNotStored):
		return errors.New("StoreError with ErrNotStored cannot happen after the commit")
	case f.kind == kindSlowBody && f.bodyTime <= 0:
		return errors.New("the duration of SlowBody must be longer than 0")
	case f.delay < 0 || f.retryAfter < 0:
		return errors.New("a duration is negative")
	}
	return nil
}

// codeOf returns the default error code of a status.
func codeOf(status int) string {
	code := chargeingest.CodeInternalError
	switch status {
	case http.StatusUnauthorized:
		code = chargeingest.CodeUnauthorised
	case http.StatusForbidden:
		code = chargeingest.CodeUserNotAllowed
	case http.StatusNotFound:
		code = chargeingest.CodeResourceNotFound
	case http.StatusMethodNotAllowed:
		code = chargeingest.CodeInvalidOperation
	case http.StatusConflict:
		code = chargeingest.CodeResourceAlreadyExists
	case http.StatusUnsupportedMediaType:
		code = chargeingest.CodeUnsupportedMediaType
	case http.StatusTooManyRequests:
		return codeTooManyRequests
	default:
		if status < 500 {
			code = chargeingest.CodeBadRequest
		}
	}
	return string(code)
}
