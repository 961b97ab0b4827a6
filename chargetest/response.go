package chargetest

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"example.com/chargeingest"
)

type response struct {
	header http.Header
	status int
	body   []byte

	injected bool
}

func newResponse() *response { return &response{header: make(http.Header)} }

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) { r.status = status }

func (r *response) Write(p []byte) (int, error) {
	r.body = append(r.body, p...)
	return len(p), nil
}

func (r *response) writeHead(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
}

type errorBody struct {
	Type    string       `json:"type"`
	Code    string       `json:"code"`
	Message string       `json:"message"`
	Field   string       `json:"field,omitempty"`
	Errors  []errorEntry `json:"errors,omitempty"`
}

type errorEntry struct {
	Code    string `json:"code"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (s *Server) errorResponse(c *call, f Fault, requestID string) *response {
	if requestID == "" {
		requestID = s.requestIDOf(c.request)
	}
	res := newResponse()
	res.injected = true
	res.status = f.status
	res.header.Set("X-Request-Id", requestID)
	body := errorBody{Type: "INVALID_REQUEST", Code: f.code, Message: f.message, Field: f.field}
	switch {
	case f.status >= 500:
		body.Type = "API_ERROR"
		retryable := f.status != http.StatusInternalServerError && (!f.afterCommit || c.request.isIdempotent())
		res.header.Set("Idempotency-Retryable", strconv.FormatBool(retryable))
		if !retryable {
			f.retryAfter = 0
		}
	case f.status == http.StatusUnauthorized:
		res.header.Set("WWW-Authenticate", "Bearer")
	case f.status == http.StatusMethodNotAllowed:
		res.header.Set("Allow", allowedMethods(c.request.Route))
	case f.status == http.StatusUnsupportedMediaType:
		res.header.Set("Accept-Post", "application/json")
	}
	if f.field != "" {
		body.Errors = []errorEntry{{f.code, f.field, f.message}}
	}
	if f.retryAfter > 0 {
		res.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body)
	res.header.Set("Content-Type", "application/json")
	res.header.Set("Content-Length", strconv.Itoa(text.Len()))
	if c.request.Method != http.MethodHead {
		res.body = text.Bytes()
	}
	return res
}

func allowedMethods(route chargeingest.Route) string {
	switch route {
	case chargeingest.RouteBatch:
		return "POST"
	case chargeingest.RouteGet:
		return "GET, HEAD"
	}
	return "POST, GET, HEAD"
}

func (s *Server) requestIDOf(r *Request) string {
	ids := r.Header.Values("X-Request-Id")
	if len(ids) == 1 && ids[0] != "" && len(ids[0]) <= 128 &&
		!strings.ContainsFunc(ids[0], func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ids[0]
	}
	return s.newRequestID()
}
