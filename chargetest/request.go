package chargetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Request is a request with its outcome. The caller must not modify it.
type Request struct {
	Number     int       // from 1
	ReceivedAt time.Time // by the server's clock
	Method     string
	RequestURI string // path and query
	Header     http.Header

	// Body is what the server has read, at most 16 MiB, decompressed.
	Body []byte

	// Events are at most 10,000 of the body. Invalid ones have only the fields that can be
	// read.
	Events []chargeingest.ChargeEvent

	Route    chargeingest.Route // empty if the path is unknown
	Platform string             // empty if not authorized

	Status       int // 0 without a complete response
	ResponseBody []byte

	// These come from an error response. Violations counts its errors.
	Code       chargeingest.Code
	Field      string
	Message    string
	Violations int

	Stored   int    // new events, even if the response was lost
	Replayed int    // events that had been stored before
	Fault    string // the injected fault, if any
	Hint     string // a likely mistake in a rejected request

	rejected bool // by the handler
	ended    bool
	size     int
}

const maxEvents = 10_000

func newRequest(r *http.Request) *Request {
	return &Request{Method: r.Method, RequestURI: r.URL.RequestURI(), Header: r.Header.Clone(), Route: routeOf(r)}
}

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

func (r *Request) setError(text []byte) {
	var e errorBody
	if json.Unmarshal(text, &e) == nil {
		r.Code, r.Message, r.Field, r.Violations = chargeingest.Code(e.Code), e.Message, e.Field, len(e.Errors)
	}
	if r.rejected {
		r.Hint = hintFor(r, e)
	}
}

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
		Events eventList `json:"charge_datas"`
	}
	if json.Unmarshal(body, &batch) == nil && batch.Events != nil {
		return batch.Events
	}
	if ev, ok := decodeEvent(body); ok {
		return []chargeingest.ChargeEvent{ev}
	}
	return nil
}

type eventList []chargeingest.ChargeEvent

func (l *eventList) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return errors.New("not a list")
	}
	*l = eventList{}
	for d.More() && len(*l) < maxEvents {
		var text json.RawMessage
		if err := d.Decode(&text); err != nil {
			return err
		}
		ev, _ := decodeEvent(text)
		*l = append(*l, ev)
	}
	return nil
}

func decodeEvent(text []byte) (ev chargeingest.ChargeEvent, ok bool) {
	if ev.UnmarshalJSON(text) == nil {
		return ev, true
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil {
		return ev, false
	}
	for name, dst := range map[string]*string{
		"product_item_id": &ev.ProductItemID, "pricing_id": &ev.PricingID,
		"pricing_item_id": &ev.PricingItemID, "pricing_item_config_id": &ev.PricingItemConfigID,
	} {
		_ = json.Unmarshal(fields[name], dst)
	}
	for name, dst := range map[string]**string{
		"customer_id": &ev.CustomerID, "customer_reference": &ev.CustomerReference,
		"pricing_plan_subscription_id":        &ev.PricingPlanSubscriptionID,
		"pricing_plan_subscription_reference": &ev.PricingPlanSubscriptionReference,
		"reference":                           &ev.Reference, "description": &ev.Description, "timestamp": &ev.Timestamp,
	} {
		if s := ""; bytes.HasPrefix(fields[name], []byte(`"`)) && json.Unmarshal(fields[name], &s) == nil {
			*dst = &s
		}
	}
	return ev, true
}

// Rejected reports whether the endpoint itself rejected the request, not a fault.
func (r Request) Rejected() bool { return r.rejected }

func (r *Request) isIdempotent() bool {
	return r.Header.Get("Idempotency-Key") != "" ||
		!slices.ContainsFunc(r.Events, func(e chargeingest.ChargeEvent) bool { return e.Reference == nil || *e.Reference == "" })
}

// String does not show credentials.
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
