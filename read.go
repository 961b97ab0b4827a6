package chargeingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/chargeingest/internal/limits"
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

// respondRead counts events as bytes in flight until they are written.
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
		return unavailableError("the request was cancelled", err)
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

type parameter struct {
	name  string
	valid string // the valid form, for messages
	parse func(q *Query, value string) bool
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

// parameters returns the parameters of the listing, in the order of errors.
func parameters() []parameter {
	const (
		identifier = "1 to 256 characters without control characters"
		date       = "an RFC 3339 date and time, with a plus sign of the offset written as %2B"
	)
	isSetReference := func(s string) bool { return s != "" && isReference(s) }
	isCursor := func(s string) bool { return isVisibleASCII(s, maxTextLength) }
	return []parameter{
		{"reference", "1 to 256 letters A–Z and a–z, digits, underscores and hyphens", filter(func(q *Query) *string { return &q.Reference }, isSetReference)},
		{"customer_id", identifier, filter(func(q *Query) *string { return &q.CustomerID }, isIdentifier)},
		{"customer_reference", identifier, filter(func(q *Query) *string { return &q.CustomerReference }, isIdentifier)},
		{"pricing_plan_subscription_id", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionID }, isIdentifier)},
		{"pricing_plan_subscription_reference", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionReference }, isIdentifier)},
		{"product_item_id", identifier, filter(func(q *Query) *string { return &q.ProductItemID }, isIdentifier)},
		{"from", date, instant(func(q *Query) **time.Time { return &q.From })},
		{"to", date, instant(func(q *Query) **time.Time { return &q.To })},
		{"limit", "a whole number from 1 to 1000", parseLimit},
		{"after", "the next or position of an earlier response", filter(func(q *Query) *string { return &q.After }, isCursor)},
		{"order", "desc or asc", parseOrder},
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

// parseQuery returns an error that names each malformed, repeated or unknown parameter
// once, unknown ones last.
func parseQuery(raw string) (Query, error) {
	q := Query{Limit: defaultLimit}
	if len(raw) > maxQueryBytes {
		return q, newError(CodeBadRequest, fmt.Sprintf("the query string is longer than %d bytes", maxQueryBytes))
	}
	given := splitQuery(raw)
	var violations []Violation
	reject := func(name, problem string) {
		violations = append(violations, Violation{Code: CodeInvalidField, Field: name, Message: name + problem})
	}
	for _, p := range parameters() {
		switch values, ok := given[p.name]; {
		case !ok:
		case values == nil:
			reject(p.name, malformed)
		case len(values) > 1:
			reject(p.name, " must be given once")
		case !p.parse(&q, values[0]):
			reject(p.name, " must be "+p.valid)
		}
		delete(given, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if len(violations) == maxViolations {
			break
		}
		if given[name] == nil {
			reject(name, malformed)
		} else {
			reject(name, " is not a parameter of the listing")
		}
	}
	if len(violations) > 0 {
		return q, violationsError(violations)
	}
	return q, nil
}

const malformed = " must be percent-encoded UTF-8"

// splitQuery returns malformed parameters by name, with nil values, unlike
// url.ParseQuery. Names are shortened as responses show them.
func splitQuery(raw string) map[string][]string {
	given := make(map[string][]string)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		decodedName, errName := url.QueryUnescape(name)
		decodedValue, errValue := url.QueryUnescape(value)
		if errName == nil {
			name = decodedName
		}
		valid := errName == nil && errValue == nil && utf8.ValidString(name) && utf8.ValidString(decodedValue)
		name = limits.Shorten(strings.ToValidUTF8(name, "\ufffd"))
		earlier, again := given[name]
		switch {
		case !valid:
			given[name] = nil
		case !again || earlier != nil:
			given[name] = append(earlier, decodedValue)
		}
	}
	return given
}
