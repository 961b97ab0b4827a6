package chargetest

import (
	"bytes"
	_ "embed" // control.yaml
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
)

//go:embed control.yaml
var controlDocument []byte

const codeAssertionFailed chargeingest.Code = "ASSERTION_FAILED"

// Control returns an API that tests in other languages can use, with the document openapi.yaml.
// Callers need PermissionIngest, and see all platforms.
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
	fields
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
		writeControlError(w, r, err)
	case result == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, status, result)
	}
}

type fields struct{ *httpapi.Fields }

func (f fields) object(name string) (fields, bool) {
	inner, ok := f.Object(name)
	return fields{inner}, ok
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
	c := &controlCall{request: r, header: w.Header(), id: id, fields: fields{httpapi.QueryFields(r.URL.RawQuery)}}
	if !isRead(r) && r.Method != http.MethodDelete {
		if err = c.Check(); err != nil {
			return 0, nil, err
		}
		if c.body, c.Fields, err = httpapi.ReadBody(w, r, maxControlBody); err != nil {
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
		return op, "", httpapi.NewError(http.StatusNotFound, chargeingest.CodeResourceNotFound, "there is no such path; openapi.yaml lists all")
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok = methods[method]
	if !ok {
		header.Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		return op, "", httpapi.NewError(http.StatusMethodNotAllowed, chargeingest.CodeInvalidOperation, "this path does not support "+r.Method)
	}
	return op, id, nil
}

func (s *Server) authorizeControl(r *http.Request) error {
	if err := s.checkBubble(); err != nil {
		return httpapi.NewError(http.StatusInternalServerError, chargeingest.CodeInternalError, err.Error())
	}
	s.mu.Lock()
	authorizer, closed := s.authorizer, s.isClosed
	s.mu.Unlock()
	if closed || authorizer == nil {
		return errControlClosed
	}
	_, err := httpapi.Authorize(r, authorizer, chargeingest.PermissionIngest)
	return err
}

var errControlClosed = httpapi.Unavailable("the server is closed", 0)

const maxControlBody = 4 << 20

func badRequest(message string) error {
	return httpapi.NewError(http.StatusBadRequest, chargeingest.CodeBadRequest, message)
}

func writeControlError(w http.ResponseWriter, r *http.Request, err error) {
	e := new(chargeingest.Error)
	switch {
	case errors.As(err, &e):
	case errors.Is(err, errClosed):
		e = httpapi.Unavailable(err.Error(), 0)
	default:
		e = httpapi.NewError(http.StatusInternalServerError, chargeingest.CodeInternalError, err.Error())
	}
	shown := *e // errors are shared
	shown.Message, _ = shorten(e.Message)
	httpapi.Fail(w, r, &shown)
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
