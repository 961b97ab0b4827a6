package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// NewError returns an error response.
func NewError(status int, code chargeingest.Code, message string) *chargeingest.Error {
	return &chargeingest.Error{Status: status, Code: code, Message: message}
}

// NotFound returns a 404.
func NotFound(message string) *chargeingest.Error {
	return NewError(http.StatusNotFound, chargeingest.CodeResourceNotFound, message)
}

// Unavailable returns a 503. The client waits for at least a second.
func Unavailable(message string, retryAfter time.Duration) *chargeingest.Error {
	e := NewError(http.StatusServiceUnavailable, chargeingest.CodeInternalError, message)
	e.RetryAfter = max(time.Second, retryAfter)
	return e
}

// Allow returns a 405 unless r has one of the methods. GET includes HEAD.
func Allow(h http.Header, r *http.Request, methods ...string) error {
	var allowed []string
	for _, m := range methods {
		if r.Method == m || m == http.MethodGet && r.Method == http.MethodHead {
			return nil
		}
		if allowed = append(allowed, m); m == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	list := strings.Join(allowed, ", ")
	h.Set("Allow", list)
	return NewError(http.StatusMethodNotAllowed, chargeingest.CodeInvalidOperation,
		"method "+limits.Shorten(r.Method)+" is not allowed here; allowed: "+list)
}

// ReadBody reads a JSON object of up to max bytes, by default without fields. Browsers do not
// let other sites send this Content-Type with a user's cookies.
func ReadBody(w http.ResponseWriter, r *http.Request, max int64) (body []byte, f *Fields, err error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		w.Header().Set("Accept-Post", "application/json")
		return nil, nil, NewError(http.StatusUnsupportedMediaType, chargeingest.CodeUnsupportedMediaType, "the Content-Type must be application/json")
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, max))
	tooLarge := new(http.MaxBytesError)
	switch {
	case errors.As(err, &tooLarge):
		return nil, nil, NewError(http.StatusRequestEntityTooLarge, chargeingest.CodeBadRequest, fmt.Sprintf("the body is larger than %d bytes", max))
	case err != nil:
		return nil, nil, badRequest("the body is incomplete")
	case len(body) == 0:
		return nil, newFields("", nil), nil
	}
	if f, err = bodyFields(body); err != nil {
		return nil, nil, badRequest(err.Error())
	}
	return body, f, nil
}

func badRequest(message string) error {
	return NewError(http.StatusBadRequest, chargeingest.CodeBadRequest, message)
}

type errorBody struct {
	Type       string            `json:"type"`
	Code       chargeingest.Code `json:"code"`
	Message    string            `json:"message"`
	Field      string            `json:"field,omitempty"`
	Errors     []violation       `json:"errors,omitempty"`
	ResourceID string            `json:"resource_id,omitempty"`
}

type violation struct {
	Code    chargeingest.Code `json:"code"`
	Field   string            `json:"field"`
	Message string            `json:"message"`
}

// Fail responds with an error. Clients see only the text of a [*chargeingest.Error].
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *chargeingest.Error
	if !errors.As(err, &e) {
		e = NewError(http.StatusInternalServerError, chargeingest.CodeInternalError, "internal error")
	}
	body := errorBody{Type: "INVALID_REQUEST", Code: e.Code, Message: e.Message, Field: e.Field, ResourceID: e.ResourceID}
	switch {
	case e.Status >= http.StatusInternalServerError:
		body.Type = "API_ERROR"
	case e.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(e.RetryAfter.Seconds())), 10))
	}
	for _, v := range e.Violations {
		body.Errors = append(body.Errors, violation(v))
	}
	text, _ := json.Marshal(body)
	Respond(w, r, e.Status, "application/json", append(text, '\n'))
}

// Respond sends a response with its length, without a body for HEAD.
func Respond(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
