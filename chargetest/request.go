package chargetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Request is an entry of the journal: a request and its outcome. The caller must not
// modify its header and slices.
type Request struct {
	Number     int       // position in the journal, from 1
	ReceivedAt time.Time // by the server's clock
	Method     string
	RequestURI string // path and query
	Header     http.Header

	// Body is the part of the body that the server has read, at most 16 MiB. A complete
	// gzip body is decompressed.
	Body []byte

	// Events are the events in the body. If the body is JSON but invalid, they have at
	// least the readable identifiers and references.
	Events []chargeingest.ChargeEvent

	// Route is the endpoint, or empty if the path is unknown.
	Route chargeingest.Route

	// Platform is empty if the caller was not authorized.
	Platform string

	// Status is the response's status, or 0 if no complete response was sent yet.
	Status       int
	ResponseBody []byte

	// Code, Field and Message come from an error response. Violations counts its errors.
	Code       chargeingest.Code
	Field      string
	Message    string
	Violations int

	// Stored counts the new events, even if the response was lost. Replayed counts the
	// events of the response that had been stored before.
	Stored   int
	Replayed int

	// Fault describes the injected fault, if any.
	Fault string

	// Hint names a likely mistake in a rejected request, such as a misspelled path or
	// field name.
	Hint string

	rejected bool // by the handler, not by a fault
	ended    bool
}

func newRequest(r *http.Request) *Request {
	return &Request{Method: r.Method, RequestURI: r.URL.RequestURI(), Header: r.Header.Clone(), Route: routeOf(r)}
}

// decodeBody returns the decompressed body and its events.
func decodeBody(r *http.Request, body []byte) (text []byte, events []chargeingest.ChargeEvent) {
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		if zipped, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			if plain, err := io.ReadAll(io.LimitReader(zipped, maxRecorded)); err == nil {
				body = plain
			}
		}
	}
	return body, decodeEvents(body)
}

// setError copies the fields of an error response.
func (r *Request) setError(text []byte) {
	var e errorBody
	if json.Unmarshal(text, &e) == nil {
		r.Code, r.Message, r.Field, r.Violations = chargeingest.Code(e.Code), e.Message, e.Field, len(e.Errors)
	}
	if r.rejected {
		r.Hint = hintFor(r, e)
	}
}

// routeOf returns the likely endpoint, for matchers. The handler's own result replaces it
// later.
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

func decodeEvents(body []byte) []chargeingest.ChargeEvent {
	var batch struct {
		Events []json.RawMessage `json:"charge_datas"`
	}
	if json.Unmarshal(body, &batch) == nil && batch.Events != nil {
		events := make([]chargeingest.ChargeEvent, len(batch.Events))
		for i, text := range batch.Events {
			events[i], _ = decodeEvent(text)
		}
		return events
	}
	if ev, ok := decodeEvent(body); ok {
		return []chargeingest.ChargeEvent{ev}
	}
	return nil
}

// decodeEvent decodes an event, or only its string fields if the event is invalid.
func decodeEvent(text []byte) (ev chargeingest.ChargeEvent, ok bool) {
	if ev.UnmarshalJSON(text) == nil {
		return ev, true
	}
	var fields map[string]any
	if json.Unmarshal(text, &fields) != nil {
		return ev, false
	}
	for name, dst := range map[string]*string{
		"product_item_id": &ev.ProductItemID, "pricing_id": &ev.PricingID,
		"pricing_item_id": &ev.PricingItemID, "pricing_item_config_id": &ev.PricingItemConfigID,
	} {
		*dst, _ = fields[name].(string)
	}
	for name, dst := range map[string]**string{
		"customer_id": &ev.CustomerID, "customer_reference": &ev.CustomerReference,
		"pricing_plan_subscription_id":        &ev.PricingPlanSubscriptionID,
		"pricing_plan_subscription_reference": &ev.PricingPlanSubscriptionReference,
		"reference":                           &ev.Reference, "description": &ev.Description, "timestamp": &ev.Timestamp,
	} {
		if s, is := fields[name].(string); is {
			*dst = &s
		}
	}
	return ev, true
}

// Rejected reports whether the endpoint itself rejected the request, even if a fault
// replaced the response.
func (r Request) Rejected() bool { return r.rejected }

// isIdempotent reports whether repeating the request stores no event twice.
func (r *Request) isIdempotent() bool {
	return r.Header.Get("Idempotency-Key") != "" ||
		!slices.ContainsFunc(r.Events, func(e chargeingest.ChargeEvent) bool { return e.Reference == nil || *e.Reference == "" })
}

// String returns the request and its outcome on one line, without credentials and body.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request %d: %s %s", r.Number, r.Method, r.RequestURI)
	for i := range r.Events {
		if i == 3 {
			fmt.Fprintf(&b, " and %d more", len(r.Events)-i)
			break
		}
		fmt.Fprintf(&b, " %s", bracketedReference(&r.Events[i]))
	}
	switch {
	case r.Status != 0:
		fmt.Fprintf(&b, ": %d", r.Status)
	case r.ended:
		b.WriteString(": no response")
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
	if r.Hint != "" {
		fmt.Fprintf(&b, " (%s)", r.Hint)
	}
	return b.String()
}

func bracketedReference(e *chargeingest.ChargeEvent) string {
	if e.Reference == nil || *e.Reference == "" {
		return "[no reference]"
	}
	return "[" + *e.Reference + "]"
}
