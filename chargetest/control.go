package chargetest

import (
	"bytes"
	_ "embed" // control.yaml
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/redact"
)

//go:embed control.yaml
var controlDocument []byte

const codeAssertionFailed chargeingest.Code = "ASSERTION_FAILED"

// Control returns an API for tests in other languages, with the document openapi.yaml. Callers
// need PermissionIngest, and see all platforms.
func (s *Server) Control() http.Handler {
	return controlAPI{s, map[string]map[string]operation{
		"state":       {http.MethodGet: {200, s.controlState}},
		"faults":      {http.MethodGet: {200, s.listFaults}, http.MethodPost: {201, s.addFault}, http.MethodDelete: {204, s.removeFaults}},
		"faults/{id}": {http.MethodDelete: {204, s.removeFault}},
		"clock":       {http.MethodGet: {200, s.readClock}, http.MethodPost: {200, s.changeClock}},
		"reset":       {http.MethodPost: {204, s.controlReset}},
		"restart":     {http.MethodPost: {204, s.controlRestart}},
		"events":      {http.MethodGet: {200, s.listEvents}, http.MethodPost: {201, s.seedEvents}},
		"requests":    {http.MethodGet: {200, s.listRequests}},
		"wait":        {http.MethodGet: {200, s.controlWait}},
		"assert":      {http.MethodPost: {204, s.controlAssert}},
		"profile":     {http.MethodGet: {200, s.readProfile}, http.MethodPatch: {200, s.changeProfile}},
		"catalogue":   {http.MethodGet: {200, s.readCatalogue}, http.MethodPut: {200, s.changeCatalogue}},
	}}
}

type controlAPI struct {
	server     *Server
	operations map[string]map[string]operation // by path and method
}

type operation struct {
	status int
	run    func(c *controlCall) (result any, err error)
}

// controlCall has the fields of the query, or of the body if the method has one.
type controlCall struct {
	*fields
	request *http.Request
	header  http.Header // of the response
	body    []byte
	id      string
}

func (a controlAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == "openapi.yaml" && isRead(r) {
		w.Header().Set("Content-Type", "application/yaml")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(controlDocument))
		return
	}
	status, result, err := a.serve(w, r, path)
	switch {
	case err != nil:
		writeControlError(w, err)
	case result == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, status, result)
	}
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

func (a controlAPI) serve(w http.ResponseWriter, r *http.Request, path string) (status int, result any, err error) {
	op, id, err := a.find(w.Header(), r, path)
	if err != nil {
		return 0, nil, err
	}
	if err = a.server.authorizeControl(r); err != nil {
		return 0, nil, err
	}
	c := &controlCall{request: r, header: w.Header(), id: id, fields: queryFields(r.URL.RawQuery)}
	if !isRead(r) && r.Method != http.MethodDelete {
		if err = c.check(); err != nil {
			return 0, nil, err
		}
		if err = c.readBody(w); err != nil {
			return 0, nil, err
		}
	}
	result, err = op.run(c)
	return op.status, result, err
}

func (a controlAPI) find(header http.Header, r *http.Request, path string) (op operation, id string, err error) {
	if name, rest, nested := strings.Cut(path, "/"); nested {
		path, id = name+"/{id}", rest
	}
	methods, ok := a.operations[path]
	if !ok {
		return op, "", controlError(http.StatusNotFound, chargeingest.CodeResourceNotFound, "there is no such path; openapi.yaml lists all")
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok = methods[method]
	if !ok {
		header.Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		return op, "", controlError(http.StatusMethodNotAllowed, chargeingest.CodeInvalidOperation, "this path does not support "+r.Method)
	}
	return op, id, nil
}

func (s *Server) authorizeControl(r *http.Request) error {
	if err := s.checkBubble(); err != nil {
		return controlError(http.StatusInternalServerError, chargeingest.CodeInternalError, err.Error())
	}
	s.mu.Lock()
	authorizer, closed := s.authorizer, s.isClosed
	s.mu.Unlock()
	if closed || authorizer == nil {
		return errControlClosed
	}
	err := chargeingest.ErrInvalidCredential
	if !redact.HasLongCredential(r.Header) {
		_, err = authorizer.Authorize(r, chargeingest.PermissionIngest)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, chargeingest.ErrForbidden):
		return controlError(http.StatusForbidden, chargeingest.CodeUserNotAllowed, "the key needs the permission "+string(chargeingest.PermissionIngest))
	case errors.Is(err, chargeingest.ErrNoCredential), errors.Is(err, chargeingest.ErrInvalidCredential):
		return controlError(http.StatusUnauthorized, chargeingest.CodeUnauthorised, "send a valid key as X-API-KEY or Authorization: Bearer")
	}
	return controlError(http.StatusServiceUnavailable, chargeingest.CodeInternalError, "the credential could not be checked")
}

var errControlClosed = controlError(http.StatusServiceUnavailable, chargeingest.CodeInternalError, "the server is closed")

const maxControlBody = 4 << 20

func (c *controlCall) readBody(w http.ResponseWriter) (err error) {
	media, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		w.Header().Set("Accept-Post", "application/json")
		return controlError(http.StatusUnsupportedMediaType, chargeingest.CodeUnsupportedMediaType, "the Content-Type must be application/json")
	}
	c.body, err = io.ReadAll(http.MaxBytesReader(w, c.request.Body, maxControlBody))
	tooLarge := new(http.MaxBytesError)
	switch {
	case errors.As(err, &tooLarge):
		return controlError(http.StatusRequestEntityTooLarge, chargeingest.CodeBadRequest, fmt.Sprintf("the body is larger than %d bytes", maxControlBody))
	case err != nil:
		return badRequest("the body is incomplete")
	case len(c.body) == 0:
		c.fields = newFields("", nil)
		return nil
	}
	if c.fields, err = bodyFields(c.body); err != nil {
		return badRequest(err.Error())
	}
	return nil
}

func badRequest(message string) error {
	return controlError(http.StatusBadRequest, chargeingest.CodeBadRequest, message)
}

func controlError(status int, code chargeingest.Code, message string) error {
	return &chargeingest.Error{Status: status, Code: code, Message: message}
}

func writeControlError(w http.ResponseWriter, err error) {
	e := new(chargeingest.Error)
	if !errors.As(err, &e) {
		e = &chargeingest.Error{Status: http.StatusInternalServerError, Code: chargeingest.CodeInternalError, Message: err.Error()}
		if errors.Is(err, errClosed) {
			e.Status = http.StatusServiceUnavailable
		}
	}
	message, _ := shorten(e.Message)
	body := controlErrorBody{
		errorBody:  errorBody{Type: "INVALID_REQUEST", Code: string(e.Code), Message: message, Field: e.Field},
		ResourceID: e.ResourceID,
	}
	switch {
	case e.Status >= http.StatusInternalServerError:
		body.Type = "API_ERROR"
	case e.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.RetryAfter.Seconds())))))
	}
	for _, v := range e.Violations {
		body.Errors = append(body.Errors, errorEntry{Code: string(v.Code), Field: v.Field, Message: v.Message})
	}
	writeJSON(w, e.Status, body)
}

type controlErrorBody struct {
	errorBody
	ResourceID string `json:"resource_id,omitempty"`
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := encodeJSON(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) //nolint:gosec // not HTML
}
