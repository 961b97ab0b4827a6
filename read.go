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

// Bounds of a listing.
const (
	defaultLimit = 50
	maxLimit     = 1000
	maxPageBytes = 1 << 20 // of events; a page may end before its limit

	maxQueryBytes = 16 << 10 // of a query string
)

// serveGet answers one event.
func (h *Handler) serveGet(x *exchange) error {
	ev, err := StoredEvent{}, ErrNotFound
	if len(x.id) <= maxTextLength { // no id is longer
		ev, err = h.reader.Get(x.r.Context(), x.platform, x.id)
	}
	if errors.Is(err, ErrNotFound) {
		e := newError(CodeResourceNotFound, "there is no charge event with this id")
		e.ResourceID = limits.Shorten(x.id)
		return e
	}
	if err != nil {
		return readError(err)
	}
	return h.respondRead(x, []StoredEvent{ev}, "", "\n")
}

// serveList answers a page of events.
func (h *Handler) serveList(x *exchange) error {
	q, err := parseQuery(x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	q.Platform, q.MaxBytes = x.platform, maxPageBytes
	page, err := h.reader.List(x.r.Context(), q)
	switch {
	case errors.Is(err, ErrInvalidCursor):
		return fieldError(CodeInvalidField, "after", "after must be a cursor that the endpoint gave as next or position")
	case errors.Is(err, ErrScanLimit):
		return unavailableError("the listing took too long; narrow it by reference, customer_id or customer_reference, or continue from a cursor", err)
	case err != nil:
		return readError(err)
	}
	return h.respondRead(x, page.Events, `{"data":[`, listTail(q, page))
}

// respondRead returns events that were read. They count against the bytes in
// flight until they are written.
func (h *Handler) respondRead(x *exchange, events []StoredEvent, head, tail string) error {
	r := eventsResponse{head: head, tail: tail, events: events}
	x.held.Platform = x.platform
	if !x.held.Resize(int64(r.size())) {
		return unavailableError("too many requests at once; send again", nil)
	}
	x.events = len(events)
	buf := h.buffers.get()
	x.respond(http.StatusOK, r, buf)
	if !x.broken {
		h.buffers.put(buf)
	}
	return nil
}

// readError is the answer to a store that could not be read. Reading again is
// always safe.
func readError(err error) *Error {
	if errors.Is(err, context.Canceled) {
		return unavailableError("the request was given up", err)
	}
	return unavailableError("the events cannot be read at the moment", err)
}

// listTail is what follows the events of a page.
func listTail(q Query, page Page) string {
	enc := encoder{text: []byte(`]`)}
	enc.begin("limit")
	enc.text = strconv.AppendInt(enc.text, int64(q.Limit), 10)
	var next *string
	if page.Next != "" {
		next = &page.Next
	}
	enc.nullable("next", next)
	if q.Order == Ascending {
		enc.member("position", page.Position)
	}
	enc.close()
	return string(append(enc.text, '\n'))
}

// parameter is a query parameter of the listing: how it is read, and what it
// must be, for the message.
type parameter struct {
	name string
	must string
	read func(q *Query, value string) bool
}

// filter reads a parameter into a text field of the query.
func filter(field func(*Query) *string, rule func(string) bool) func(*Query, string) bool {
	return func(q *Query, value string) bool {
		*field(q) = value
		return rule(value)
	}
}

// instant reads a parameter into a time field of the query.
func instant(field func(*Query) **time.Time) func(*Query, string) bool {
	return func(q *Query, value string) bool {
		t, ok := rfc3339.Parse(value)
		*field(q) = &t
		return ok
	}
}

// parameters are those of the listing, in the order that errors come in.
func parameters() []parameter {
	const (
		identifier = "1 to 256 characters without control characters"
		date       = "an RFC 3339 date and time, with a plus sign of the offset written as %2B"
	)
	isSetReference := func(s string) bool { return s != "" && isReference(s) }
	isCursor := func(s string) bool { return isVisibleASCII(s, maxTextLength) }
	return []parameter{
		{"reference", "1 to 256 letters, digits, underscores and hyphens", filter(func(q *Query) *string { return &q.Reference }, isSetReference)},
		{"customer_id", identifier, filter(func(q *Query) *string { return &q.CustomerID }, isIdentifier)},
		{"customer_reference", identifier, filter(func(q *Query) *string { return &q.CustomerReference }, isIdentifier)},
		{"pricing_plan_subscription_id", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionID }, isIdentifier)},
		{"pricing_plan_subscription_reference", identifier, filter(func(q *Query) *string { return &q.PricingPlanSubscriptionReference }, isIdentifier)},
		{"product_item_id", identifier, filter(func(q *Query) *string { return &q.ProductItemID }, isIdentifier)},
		{"from", date, instant(func(q *Query) **time.Time { return &q.From })},
		{"to", date, instant(func(q *Query) **time.Time { return &q.To })},
		{"limit", "a whole number from 1 to 1000", readLimit},
		{"after", "a cursor that the endpoint gave as next or position", filter(func(q *Query) *string { return &q.After }, isCursor)},
		{"order", "desc or asc", readOrder},
	}
}

func readLimit(q *Query, value string) bool {
	n, rest := countDigits(value)
	if n == 0 || n > 4 || rest != "" {
		return false
	}
	q.Limit, _ = strconv.Atoi(value)
	return q.Limit >= 1 && q.Limit <= maxLimit
}

func readOrder(q *Query, value string) bool {
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

// parseQuery reads the query string of a listing. Its error names the
// parameters that are malformed, repeated or unknown, once, the known ones first.
func parseQuery(raw string) (Query, error) {
	q := Query{Limit: defaultLimit}
	if len(raw) > maxQueryBytes {
		return q, newError(CodeBadRequest, fmt.Sprintf("the query string is longer than %d bytes", maxQueryBytes))
	}
	given := splitQuery(raw)
	var wrong []Violation
	reject := func(name, must string) {
		wrong = append(wrong, Violation{Code: CodeInvalidField, Field: name, Message: name + must})
	}
	for _, p := range parameters() {
		switch values, ok := given[p.name]; {
		case !ok:
		case values == nil:
			reject(p.name, malformed)
		case len(values) > 1:
			reject(p.name, " must be given once")
		case !p.read(&q, values[0]):
			reject(p.name, " must be "+p.must)
		}
		delete(given, p.name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if len(wrong) == maxViolations {
			break
		}
		if given[name] == nil {
			reject(name, malformed)
		} else {
			reject(name, " is not a parameter of the listing")
		}
	}
	if len(wrong) > 0 {
		return q, violationsError(wrong)
	}
	return q, nil
}

const malformed = " must be percent-encoded UTF-8"

// splitQuery splits a query string; the values of a parameter that is malformed
// are nil. Unlike url.ParseQuery it can say which one that is. Names are cut as
// they are echoed, so that each is there once.
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
