package chargetest

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/chargeingest"
)

// Fault is something that goes wrong with a request. It is made by [Status], [Reset],
// [Delay], [StoreError], [Truncated], [Malformed] or [SlowBody], refined by its
// methods, and injected by [Server.FailNext], [Server.FailFor] or
// [Server.FailSometimes].
type Fault struct {
	kind       kind
	status     int
	code       string
	message    string
	field      string
	retryAfter time.Duration
	delay      time.Duration
	pace       time.Duration
	committed  bool
	err        error
}

type kind int

const (
	kindNone kind = iota // the request is served; there may be a delay
	kindStatus
	kindReset
	kindStoreError
	kindTruncated
	kindMalformed
	kindSlowBody
)

// codeTooManyRequests is for quotas. The contract has no code for them.
const codeTooManyRequests = "TOO_MANY_REQUESTS"

// Status responds with an error of the contract, 400 to 599, without serving the
// request. The code is the first that the contract has for the status, and
// TOO_MANY_REQUESTS for 429. A 503 has a Retry-After of one second unless RetryAfter
// changes it.
func Status(status int) Fault {
	f := Fault{kind: kindStatus, status: status, code: codeOf(status), message: "injected by the test"}
	if status == http.StatusServiceUnavailable {
		f.retryAfter = time.Second
	}
	return f
}

// Reset cuts the connection without serving the request. With AfterCommit the request
// is served and its response is lost: a client that sends the request again is billed
// twice, unless it has made that safe.
//
// If a connection that was used before is cut, a client of net/http repeats GETs, and
// requests with an Idempotency-Key, by itself. A connection that is not the server's
// own, see [Server.Handler], is closed, or the handler panics with
// http.ErrAbortHandler.
func Reset() Fault { return Fault{kind: kindReset} }

// Delay waits before the request is served, or with AfterCommit before the response
// is sent. If the client gives up meanwhile, nothing is stored in the first case, and
// the events are stored in the second.
func Delay(d time.Duration) Fault { return Fault{}.Delay(d) }

// StoreError makes the store fail with err. An error that is
// chargeingest.ErrNotStored results in a 503, any other in the response to an unknown
// outcome. With AfterCommit the events are stored all the same; err must not be an
// ErrNotStored then.
func StoreError(err error) Fault { return Fault{kind: kindStoreError, err: err} }

// Truncated serves the request and cuts the connection in the middle of the response.
func Truncated() Fault { return Fault{kind: kindTruncated} }

// Malformed serves the request and responds with its status and a body that is not
// JSON.
func Malformed() Fault { return Fault{kind: kindMalformed} }

// SlowBody serves the request and takes d to send the body of the response.
func SlowBody(d time.Duration) Fault { return Fault{kind: kindSlowBody, pace: d} }

// RetryAfter sets the Retry-After of a [Status], rounded up to seconds; none
// for 0.
func (f Fault) RetryAfter(d time.Duration) Fault {
	f.retryAfter = d
	return f
}

// Code sets the code of a [Status].
func (f Fault) Code(code chargeingest.Code) Fault {
	f.code = string(code)
	return f
}

// Message sets the message of a [Status].
func (f Fault) Message(message string) Fault {
	f.message = message
	return f
}

// Field sets the field of a [Status], such as value.number.
func (f Fault) Field(path string) Fault {
	f.field = path
	return f
}

// Delay puts a delay before the fault.
func (f Fault) Delay(d time.Duration) Fault {
	f.delay = d
	return f
}

// AfterCommit serves the request first: what it stores stays stored. It changes
// [Status], [Reset], [Delay] and [StoreError]; the others come after it anyway.
func (f Fault) AfterCommit() Fault {
	f.committed = true
	return f
}

// String names the fault as it is written in a test.
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
		s = fmt.Sprintf("SlowBody(%s)", f.pace)
	}
	if f.delay > 0 && f.kind != kindNone {
		s += fmt.Sprintf(".Delay(%s)", f.delay)
	}
	if f.committed {
		s += ".AfterCommit()"
	}
	return s
}

// check says what is wrong with a fault.
func (f Fault) check() error {
	answered := f.kind == kindTruncated || f.kind == kindMalformed || f.kind == kindSlowBody
	switch {
	case f.kind == kindNone && f.delay <= 0:
		return errors.New("it is no fault: one is made by Status, Reset, Delay (longer than 0), StoreError, Truncated, Malformed or SlowBody")
	case f.kind != kindStatus && (f.retryAfter != 0 || f.code != "" || f.message != "" || f.field != ""):
		return errors.New("RetryAfter, Code, Message and Field are for a Status")
	case answered && f.committed:
		return errors.New("it comes after the commit in any case")
	case f.kind == kindStatus && (f.status < 400 || f.status > 599):
		return fmt.Errorf("a status must be from 400 to 599, not %d", f.status)
	case f.kind == kindStoreError && f.err == nil:
		return errors.New("the error of StoreError is nil")
	case f.kind == kindStoreError && f.committed && errors.Is(f.err, chargeingest.ErrNotStored):
		return errors.New("an ErrNotStored cannot come after the commit")
	case f.kind == kindSlowBody && f.pace <= 0:
		return errors.New("the time of a slow body must be longer than 0")
	case f.delay < 0 || f.retryAfter < 0:
		return errors.New("a time is negative")
	}
	return nil
}

// codeOf is the contract's code for a status.
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
