package chargeingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/params"
	"example.com/chargeingest/internal/rfc3339"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
	maxPageBytes = 1 << 20 // of events; a page may end before its limit

	maxQueryBytes = 16 << 10
)

func (h *Handler) serveGet(req *request) error {
	ev, err := StoredEvent{}, ErrNotFound
	if len(req.eventID) <= maxTextLength { // no id is longer
		ev, err = h.reader.Get(req.r.Context(), req.platform, req.eventID)
	}
	if errors.Is(err, ErrNotFound) {
		e := newError(CodeResourceNotFound, "no charge event has this id")
		e.ResourceID = limits.Shorten(req.eventID)
		return e
	}
	if err != nil {
		return readError(err)
	}
	return h.respondRead(req, []StoredEvent{ev}, "", "\n")
}

func (h *Handler) serveList(req *request) error {
	q, err := parseQuery(req.r.URL.RawQuery)
	if err != nil {
		return err
	}
	q.Platform, q.MaxBytes = req.platform, maxPageBytes
	page, err := h.reader.List(req.r.Context(), q)
	switch {
	case errors.Is(err, ErrInvalidCursor):
		return fieldError(CodeInvalidField, "after", "after is not a cursor of this service, or is beyond its last event")
	case errors.Is(err, ErrScanLimit):
		return unavailableError("the listing took too long; filter by reference, customer_id or customer_reference, or continue from a cursor", err)
	case err != nil:
		return readError(err)
	}
	return h.respondRead(req, page.Events, `{"data":[`, listTail(q, page))
}

func (h *Handler) respondRead(req *request, events []StoredEvent, head, tail string) error {
	for i := range events {
		if err := events[i].check(); err != nil {
			return internalError(err)
		}
	}
	r := eventsResponse{head: head, tail: tail, events: events}
	req.held.Platform = req.platform
	if !req.held.Resize(int64(r.size())) {
		return unavailableError("too many requests at once; send the request again", nil)
	}
	req.events = len(events)
	buf := h.buffers.get()
	req.respondEvents(http.StatusOK, r, buf)
	if !req.broken {
		h.buffers.put(buf)
	}
	return nil
}

// readError is always retryable.
func readError(err error) *Error {
	if errors.Is(err, context.Canceled) {
		return unavailableError("the request was canceled", err)
	}
	return unavailableError("the events cannot be read at the moment", err)
}

func listTail(q Query, page Page) string {
	enc := encoder{text: []byte(`]`)}
	enc.name("limit")
	enc.text = strconv.AppendInt(enc.text, int64(q.Limit), 10)
	var next *string
	if page.Next != "" {
		next = &page.Next
	}
	enc.nullable("next", next)
	if q.Order == Ascending {
		enc.field("position", page.Position)
	}
	enc.close()
	return string(append(enc.text, '\n'))
}

func filter(field func(*Query) *string, rule func(string) bool) func(*Query, string) bool {
	return func(q *Query, value string) bool {
		*field(q) = value
		return rule(value)
	}
}

func instant(field func(*Query) **time.Time) func(*Query, string) bool {
	return func(q *Query, value string) bool {
		t, ok := rfc3339.Parse(value)
		*field(q) = &t
		return ok
	}
}

// parameters are in the order of errors.
func parameters() []params.Parameter[Query] {
	const (
		identifier = "1 to 256 characters without control characters"
		date       = "an RFC 3339 date and time, with a plus sign of the offset written as %2B"
	)
	isSetReference := func(s string) bool { return s != "" && isReference(s) }
	isCursor := func(s string) bool { return isVisibleASCII(s, maxTextLength) }
	return []params.Parameter[Query]{
		params.New("reference", "1 to 256 letters A–Z and a–z, digits, underscores and hyphens", filter(func(q *Query) *string { return &q.Reference }, isSetReference)),
		params.New("customer_id", identifier, filter(func(q *Query) *string { return &q.CustomerID }, isIdentifier)),
		params.New("customer_reference", identifier, filter(func(q *Query) *string { return &q.CustomerReference }, isIdentifier)),
		params.New("pricing_plan_subscription_id", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionID }, isIdentifier)),
		params.New("pricing_plan_subscription_reference", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionReference }, isIdentifier)),
		params.New("product_item_id", identifier, filter(func(q *Query) *string { return &q.ProductItemID }, isIdentifier)),
		params.New("from", date, instant(func(q *Query) **time.Time { return &q.From })),
		params.New("to", date, instant(func(q *Query) **time.Time { return &q.To })),
		params.New("limit", "a whole number from 1 to 1000", parseLimit),
		params.New("after", "the next or position of an earlier response", filter(func(q *Query) *string { return &q.After }, isCursor)),
		params.New("order", "desc or asc", parseOrder),
	}
}

func parseLimit(q *Query, value string) bool {
	n, rest := countDigits(value)
	if n == 0 || n > 4 || rest != "" {
		return false
	}
	q.Limit, _ = strconv.Atoi(value)
	return q.Limit >= 1 && q.Limit <= maxLimit
}

func parseOrder(q *Query, value string) bool {
	switch value {
	case "asc":
		q.Order = Ascending
	case "desc":
		q.Order = Descending
	default:
		return false
	}
	return true
}

func parseQuery(raw string) (Query, error) {
	q := Query{Limit: defaultLimit}
	if len(raw) > maxQueryBytes {
		return q, newError(CodeBadRequest, fmt.Sprintf("the query string is longer than %d bytes", maxQueryBytes))
	}
	problems := params.Parse(raw, &q, parameters())
	if len(problems) == 0 {
		return q, nil
	}
	var violations []Violation
	for _, p := range problems[:min(len(problems), maxViolations)] {
		violations = append(violations, Violation{Code: CodeInvalidField, Field: p.Name, Message: p.Name + p.Problem})
	}
	return q, violationsError(violations)
}
