package chargetest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/chargeingest"
)

// Fault is a failure to inject. Its methods return modified copies.
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
	kindNone kind = iota
	kindStatus
	kindReset
	kindStoreError
	kindTruncated
	kindMalformed
	kindSlowBody
)

const codeTooManyRequests = "TOO_MANY_REQUESTS"

// Status responds with an error of status 400 to 599, without serving the request. Retry-After
// defaults to one second for 503.
func Status(status int) Fault {
	f := Fault{kind: kindStatus, status: status, code: codeOf(status), message: "injected by the test"}
	if status == http.StatusServiceUnavailable {
		f.retryAfter = time.Second
	}
	return f
}

// Reset cuts the connection without serving the request. With AfterCommit, only the response
// is lost. On a reused connection, net/http itself retries GET requests and those with an
// Idempotency-Key.
func Reset() Fault { return Fault{kind: kindReset} }

// Delay waits before the request is served, or with AfterCommit before the response is sent.
func Delay(d time.Duration) Fault { return Fault{}.Delay(d) }

// StoreError makes the store return err. If that is not chargeingest.ErrNotStored, the outcome
// is unknown. With AfterCommit, the events are stored.
func StoreError(err error) Fault { return Fault{kind: kindStoreError, err: err} }

// Truncated cuts the connection halfway through the response.
func Truncated() Fault { return Fault{kind: kindTruncated} }

// Malformed makes the body of the response invalid JSON.
func Malformed() Fault { return Fault{kind: kindMalformed} }

// SlowBody sends the body of the response over the duration d.
func SlowBody(d time.Duration) Fault { return Fault{kind: kindSlowBody, bodyTime: d} }

// RetryAfter sets the Retry-After of a [Status]. Zero removes it.
func (f Fault) RetryAfter(d time.Duration) Fault {
	f.retryAfter = d
	return f
}

// Code is for a [Status].
func (f Fault) Code(code chargeingest.Code) Fault {
	f.code = string(code)
	return f
}

// Message is for a [Status].
func (f Fault) Message(message string) Fault {
	f.message = message
	return f
}

// Field sets the dotted path of a [Status].
func (f Fault) Field(path string) Fault {
	f.field = path
	return f
}

// Delay adds a delay before the fault.
func (f Fault) Delay(d time.Duration) Fault {
	f.delay = d
	return f
}

// AfterCommit serves the request before a [Status], [Reset], [Delay] or [StoreError]. Other
// faults always do.
func (f Fault) AfterCommit() Fault {
	f.afterCommit = true
	return f
}

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
