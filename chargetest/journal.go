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

// Request is an entry of the journal: what came in, and what became of it. Its
// header and slices are the server's and not to be changed.
type Request struct {
	N      int       // its number, from 1
	At     time.Time // by the server's clock
	Method string
	Path   string // with the query
	Header http.Header

	// Body is what was read of what was sent, decompressed where it could be, at
	// most 16 MiB. The journal keeps it until Reset.
	Body []byte

	// Events are those of the body. Of a body that is not valid they have what
	// can be read: the identifiers and references at least, where it is JSON.
	Events []chargeingest.ChargeEvent

	// Route is the endpoint; empty where the path leads nowhere. Platform is
	// empty where the caller was not authorized.
	Route    chargeingest.Route
	Platform string

	// Status is that of the answer; 0 where none was sent whole, or not yet.
	Status int

	// Answer is the body that was sent.
	Answer []byte

	// Code, Field and Message are those of an error; Violations are how many
	// rules a request broke.
	Code    chargeingest.Code
	Field   string
	Message string

	Violations int

	// Stored is how many new events were stored, whether or not their sender
	// was told. Replayed counts those of the answer that were there before.
	Stored   int
	Replayed int

	// Fault is the one that the request met, empty for none.
	Fault string

	// NearMiss says what a request that was rejected may have meant, where
	// that can be guessed: a path or a name of a field that is nearly right.
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

// Rejected says that the endpoint refused the request by itself, whether or not
// it met a fault on the way.
func (r Request) Rejected() bool { return r.rejected }

// isRepeatable says that sending the request again stores nothing twice.
func (r *Request) isRepeatable() bool {
	return r.Header.Get("Idempotency-Key") != "" ||
		!slices.ContainsFunc(r.Events, func(e chargeingest.ChargeEvent) bool { return e.Reference == nil || *e.Reference == "" })
}

// asHTTP is the request for who reads credentials.
func (r *Request) asHTTP() *http.Request { return &http.Request{Header: r.Header} }

// String is the request on a line, without credentials and body.
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

// Requests is the journal: every request since New or Reset, in the order that
// they came in, those that were rejected or met a fault among them.
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

// Dump is everything that is stored and everything that was requested, as text
// for people.
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
