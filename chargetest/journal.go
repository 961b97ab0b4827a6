package chargetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Request is an entry of the journal: a request and what became of it. Its header and
// slices must not be changed.
type Request struct {
	N      int       // its number, from 1
	At     time.Time // by the server's clock
	Method string
	Path   string // with the query
	Header http.Header

	// Body is the part of the body that was read, decompressed if possible, at most
	// 16 MiB. The journal keeps it until Reset.
	Body []byte

	// Events are those of the body. If the body is invalid they have the fields that
	// can be read: at least identifiers and references if it is JSON.
	Events []chargeingest.ChargeEvent

	// Route is the endpoint, empty if the path is unknown. Platform is empty if the
	// caller was not authorized.
	Route    chargeingest.Route
	Platform string

	// Status is that of the response; 0 if none was sent completely, or not yet.
	Status int

	// Answer is the body of the response.
	Answer []byte

	// Code, Field and Message are those of an error; Violations is how many rules
	// the request broke.
	Code    chargeingest.Code
	Field   string
	Message string

	Violations int

	// Stored is how many new events were stored, whether or not a response said so.
	// Replayed is how many events of the response had been stored before.
	Stored   int
	Replayed int

	// Fault is the fault that the request met, empty if none.
	Fault string

	// NearMiss is what a rejected request may have meant, if that can be guessed: a
	// path or a field name that is nearly right.
	NearMiss string

	rejected bool // by the handler, not by a fault
	ended    bool
}

// newRequest is the entry of a request that has just come in.
func newRequest(r *http.Request) *Request {
	return &Request{Method: r.Method, Path: r.URL.RequestURI(), Header: r.Header.Clone(), Route: routeOf(r)}
}

// readBody reads what there is of a body: its text, and the events in it.
func readBody(r *http.Request, body []byte) (text []byte, events []chargeingest.ChargeEvent) {
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		if zipped, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			if plain, err := io.ReadAll(io.LimitReader(zipped, mostReceived)); err == nil {
				body = plain
			}
		}
	}
	return body, readEvents(body)
}

// setError keeps what an error says.
func (r *Request) setError(text []byte) {
	var e errorBody
	if json.Unmarshal(text, &e) == nil {
		r.Code, r.Message, r.Field, r.Violations = chargeingest.Code(e.Code), e.Message, e.Field, len(e.Errors)
	}
	if r.rejected {
		r.NearMiss = nearMiss(r, e)
	}
}

// routeOf is the endpoint that a path leads to, as far as faults are concerned.
// The handler knows better, once it has looked.
func routeOf(r *http.Request) chargeingest.Route {
	_, name, found := strings.Cut(r.URL.Path, "/ingest/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !found:
		return ""
	case name == "charge-data" && r.Method == http.MethodPost:
		return chargeingest.RouteSingle
	case name == "charge-data" && reads:
		return chargeingest.RouteList
	case name == "charge-datas" && r.Method == http.MethodPost:
		return chargeingest.RouteBatch
	case strings.HasPrefix(name, "charge-data/") && reads:
		return chargeingest.RouteGet
	}
	return ""
}

// readEvents reads what it can of a body's events.
func readEvents(body []byte) []chargeingest.ChargeEvent {
	var batch struct {
		Events []json.RawMessage `json:"charge_datas"`
	}
	if json.Unmarshal(body, &batch) == nil && batch.Events != nil {
		events := make([]chargeingest.ChargeEvent, len(batch.Events))
		for i, text := range batch.Events {
			events[i], _ = readEvent(text)
		}
		return events
	}
	if ev, ok := readEvent(body); ok {
		return []chargeingest.ChargeEvent{ev}
	}
	return nil
}

// readEvent reads an event, or its texts where it is not of the contract's
// types.
func readEvent(text []byte) (ev chargeingest.ChargeEvent, ok bool) {
	if ev.UnmarshalJSON(text) == nil {
		return ev, true
	}
	var members map[string]any
	if json.Unmarshal(text, &members) != nil {
		return ev, false
	}
	for name, dst := range map[string]*string{
		"product_item_id": &ev.ProductItemID, "pricing_id": &ev.PricingID,
		"pricing_item_id": &ev.PricingItemID, "pricing_item_config_id": &ev.PricingItemConfigID,
	} {
		*dst, _ = members[name].(string)
	}
	for name, dst := range map[string]**string{
		"customer_id": &ev.CustomerID, "customer_reference": &ev.CustomerReference,
		"pricing_plan_subscription_id":        &ev.PricingPlanSubscriptionID,
		"pricing_plan_subscription_reference": &ev.PricingPlanSubscriptionReference,
		"reference":                           &ev.Reference, "description": &ev.Description, "timestamp": &ev.Timestamp,
	} {
		if s, is := members[name].(string); is {
			*dst = &s
		}
	}
	return ev, true
}

// Rejected reports whether the endpoint itself refused the request, whether or not
// the request met a fault.
func (r Request) Rejected() bool { return r.rejected }

// isRepeatable says that sending the request again stores nothing twice.
func (r *Request) isRepeatable() bool {
	return r.Header.Get("Idempotency-Key") != "" ||
		!slices.ContainsFunc(r.Events, func(e chargeingest.ChargeEvent) bool { return e.Reference == nil || *e.Reference == "" })
}

// asHTTP is the request for who reads credentials.
func (r *Request) asHTTP() *http.Request { return &http.Request{Header: r.Header} }

// String is the request on one line, without credentials and body.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request %d: %s %s", r.N, r.Method, r.Path)
	for i := range r.Events {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(r.Events)-i)
			break
		}
		fmt.Fprintf(&b, " %s", referenceOf(&r.Events[i]))
	}
	switch {
	case r.Status != 0:
		fmt.Fprintf(&b, ": %d", r.Status)
	case r.ended:
		b.WriteString(": no answer")
	default:
		b.WriteString(": in flight")
	}
	if r.Code != "" {
		fmt.Fprintf(&b, " %s", r.Code)
	}
	if r.Message != "" {
		fmt.Fprintf(&b, ": %s", r.Message)
	}
	if r.Violations > 1 {
		fmt.Fprintf(&b, " and %d more", r.Violations-1)
	}
	if r.Replayed > 0 {
		fmt.Fprintf(&b, ", %d replayed", r.Replayed)
	}
	if r.Stored > 0 {
		fmt.Fprintf(&b, ", %d stored", r.Stored)
	}
	if r.Fault != "" {
		fmt.Fprintf(&b, " (fault %s)", r.Fault)
	}
	if r.NearMiss != "" {
		fmt.Fprintf(&b, " (%s)", r.NearMiss)
	}
	return b.String()
}

func referenceOf(e *chargeingest.ChargeEvent) string {
	if e.Reference == nil || *e.Reference == "" {
		return "[no reference]"
	}
	return "[" + *e.Reference + "]"
}

// Requests returns the journal: every request since New or Reset in the order of
// arrival, rejected ones and those that met a fault included.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Request, len(s.journal))
	for i, r := range s.journal {
		list[i] = *r
	}
	return list
}

func (s *Server) countRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.journal)
}

// Dump returns all stored events and all requests as readable text.
func (s *Server) Dump() string {
	s.t.Helper()
	stored := new(search)
	err := s.update(stored)
	if err != nil && !errors.Is(err, errClosed) {
		s.errorf("%v", err)
	}
	return s.dump(stored, err, math.MaxInt)
}

// dump writes the clock, the stored events, or why they cannot be read, and the
// journal: the last lines of each, at most so many.
func (s *Server) dump(stored *search, err error, most int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "clock: %s\n", s.Now().Format(time.RFC3339Nano))
	if err != nil {
		fmt.Fprintf(&b, "stored: %v\n", err)
	} else {
		fmt.Fprintf(&b, "stored: %d\n", len(stored.found))
		writeLast(&b, stored.found, most)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&b, "requests: %d\n", len(s.journal))
	writeLast(&b, s.journal, most)
	return b.String()
}

// writeLast writes the end of a list, a line each, and how many come before it.
func writeLast[T any](w io.Writer, list []T, most int) {
	if before := len(list) - most; before > 0 {
		_, _ = fmt.Fprintf(w, "  … %d more\n", before)
		list = list[before:]
	}
	for _, item := range list {
		_, _ = fmt.Fprintf(w, "  %v\n", item)
	}
}
