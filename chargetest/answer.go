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

// answer is a ResponseWriter that keeps what is written.
type answer struct {
	header http.Header
	status int
	text   []byte

	// injected says that the status is the doing of a fault.
	injected bool
}

func newAnswer() *answer { return &answer{header: make(http.Header)} }

// Header implements [http.ResponseWriter].
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *answer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *answer) Write(p []byte) (int, error) {
	a.text = append(a.text, p...)
	return len(p), nil
}

// writeHead writes all but the body.
func (a *answer) writeHead(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
}

// errorBody is the contract's error, as far as it is looked at and made here.
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

// refusal is the answer of a [Status]; id is the request's where the handler
// gave it one.
func (s *Server) refusal(c *call, id string) *answer {
	f := c.fault
	if id == "" {
		id = s.requestIDOf(c.request)
	}
	a := newAnswer()
	a.injected = true
	a.status = f.status
	a.header.Set("X-Request-Id", id)
	body := errorBody{Type: "INVALID_REQUEST", Code: f.code, Message: f.message, Field: f.field}
	switch {
	case f.status >= 500:
		body.Type = "API_ERROR"
		safe := f.status != http.StatusInternalServerError && (!f.committed || c.request.isRepeatable())
		a.header.Set("Idempotency-Retryable", strconv.FormatBool(safe))
		if !safe {
			f.retryAfter = 0
		}
	case f.status == http.StatusUnauthorized:
		a.header.Set("WWW-Authenticate", "Bearer")
	case f.status == http.StatusMethodNotAllowed:
		a.header.Set("Allow", allowed(c.request.Route))
	case f.status == http.StatusUnsupportedMediaType:
		a.header.Set("Accept-Post", "application/json")
	}
	if f.field != "" {
		body.Errors = []errorEntry{{f.code, f.field, f.message}}
	}
	if f.retryAfter > 0 {
		a.header.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // strings always are JSON
	a.header.Set("Content-Type", "application/json")
	a.header.Set("Content-Length", strconv.Itoa(text.Len()))
	if c.request.Method != http.MethodHead {
		a.text = text.Bytes()
	}
	return a
}

// allowed are the methods of an endpoint's path.
func allowed(route chargeingest.Route) string {
	switch route {
	case chargeingest.RouteBatch:
		return "POST"
	case chargeingest.RouteGet:
		return "GET, HEAD"
	}
	return "POST, GET, HEAD"
}

// requestIDOf is the id that the handler would give the request: its own, if that
// is 1 to 128 visible ASCII characters.
func (s *Server) requestIDOf(r *Request) string {
	ids := r.Header.Values("X-Request-Id")
	if len(ids) == 1 && ids[0] != "" && len(ids[0]) <= 128 &&
		!strings.ContainsFunc(ids[0], func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ids[0]
	}
	return s.requestID()
}
