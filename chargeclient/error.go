package chargeclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Error is a failed request. It matches [chargeingest.ErrOutcomeUnknown] if its events may be
// stored. Otherwise none is.
type Error struct {
	Status     int // 0 without a complete response
	Code       chargeingest.Code
	Message    string
	Field      string // with the caller's index, such as charge_datas.3.value.number
	ResourceID string
	Violations []chargeingest.Violation

	RequestID  string
	Attempts   int
	RetryAfter time.Duration // as the server sent it

	cause     error
	unknown   bool
	retryable bool
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Status == 0 {
		b.WriteString("request failed")
	} else {
		fmt.Fprintf(&b, "response %d %s", e.Status, http.StatusText(e.Status))
	}
	if e.Code != "" {
		fmt.Fprintf(&b, ": %s", e.Code)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if n := len(e.Violations) - 1; n > 0 {
		fmt.Fprintf(&b, " (and %d more)", n)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, ", request %s", e.RequestID)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, ", after %d attempts", e.Attempts)
	}
	if e.unknown {
		b.WriteString("; the events may be stored")
	}
	return b.String()
}

// Is supports [chargeingest.ErrOutcomeUnknown].
func (e *Error) Is(target error) bool { return e.unknown && target == chargeingest.ErrOutcomeUnknown }

// Unwrap returns the cause, such as the error of the context.
func (e *Error) Unwrap() error { return e.cause }

func (c *Client) errorOf(res *http.Response, text []byte) *Error {
	e := &Error{
		Status: res.StatusCode, RequestID: c.requestID(res),
		retryable: isRetryable(res.StatusCode, res.Header), RetryAfter: retryAfter(res.Header, time.Now()),
	}
	var body struct {
		Code       chargeingest.Code        `json:"code"`
		Message    string                   `json:"message"`
		Field      string                   `json:"field"`
		ResourceID string                   `json:"resource_id"`
		Errors     []chargeingest.Violation `json:"errors"`
	}
	if json.Unmarshal(text, &body) != nil {
		return e
	}
	e.Code, e.Message = chargeingest.Code(c.hide(string(body.Code))), c.hide(body.Message)
	e.Field, e.ResourceID = c.hide(body.Field), c.hide(body.ResourceID)
	for _, v := range body.Errors {
		e.Violations = append(e.Violations, chargeingest.Violation{
			Code: chargeingest.Code(c.hide(string(v.Code))), Field: c.hide(v.Field), Message: c.hide(v.Message),
		})
	}
	return e
}

func (c *Client) requestID(res *http.Response) string {
	id := res.Header.Get("X-Request-Id")
	if len(id) > 128 || !isVisibleASCII(id) {
		return ""
	}
	return c.hide(id)
}

func (e *Error) isTooLarge() bool {
	return !e.unknown && (e.Status == http.StatusRequestEntityTooLarge ||
		e.Status == http.StatusBadRequest && e.Field == batchField)
}

func (e *Error) shiftIndex(offset int) {
	shift := func(field, message *string) {
		rest, found := strings.CutPrefix(*field, batchField+".")
		number, rest, _ := strings.Cut(rest, ".")
		index, err := strconv.Atoi(number)
		if !found || err != nil {
			return
		}
		shifted := strings.TrimSuffix(fmt.Sprintf("%s.%d.%s", batchField, index+offset, rest), ".")
		*message = strings.Replace(*message, *field, shifted, 1)
		*field = shifted
	}
	shift(&e.Field, &e.Message)
	for i := range e.Violations {
		shift(&e.Violations[i].Field, &e.Violations[i].Message)
	}
}
