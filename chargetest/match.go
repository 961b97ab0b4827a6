package chargetest

import (
	"fmt"
	"net/http"
	"strings"

	"example.com/chargeingest"
)

// Matcher selects requests.
type Matcher interface {
	fmt.Stringer
	matchesRequest(r *Request) bool
}

// EventMatcher selects events and the requests that contain them.
type EventMatcher interface {
	Matcher
	matchesEvent(e *Event) bool

	indexed(x *index) (list []*Event, ok bool)
}

type requestMatcher struct {
	name  string
	match func(*Request) bool
}

func (m requestMatcher) String() string                 { return m.name }
func (m requestMatcher) matchesRequest(r *Request) bool { return m.match(r) }

type eventMatcher struct {
	name  string
	match func(*Event) bool
	list  func(*index) []*Event
}

func (m eventMatcher) String() string             { return m.name }
func (m eventMatcher) matchesEvent(e *Event) bool { return m.match(e) }

func (m eventMatcher) indexed(x *index) ([]*Event, bool) {
	if m.list == nil {
		return nil, false
	}
	return m.list(x), true
}

func (m eventMatcher) matchesRequest(r *Request) bool {
	for i := range r.Events {
		if m.match(&Event{ChargeEvent: r.Events[i], Platform: r.Platform}) {
			return true
		}
	}
	return false
}

type referenceMatcher struct {
	eventMatcher
	reference string
}

// Reference selects events by their reference.
func Reference(reference string) EventMatcher {
	return referenceMatcher{eventMatcher{
		name:  fmt.Sprintf("reference %q", reference),
		match: func(e *Event) bool { return equals(e.Reference, reference) },
		list:  func(x *index) []*Event { return x.byReference[reference] },
	}, reference}
}

// Customer selects events by their customer_id or customer_reference.
func Customer(customer string) EventMatcher {
	return eventMatcher{
		name:  fmt.Sprintf("customer %q", customer),
		match: func(e *Event) bool { return equals(e.CustomerID, customer) || equals(e.CustomerReference, customer) },
		list:  func(x *index) []*Event { return x.byCustomer[customer] },
	}
}

// EventWhere has a predicate, which must not call the server. For requests, it sees
// Request.Events, without a platform.
func EventWhere(predicate func(Event) bool) EventMatcher {
	return eventMatcher{name: "event by a predicate", match: func(e *Event) bool { return predicate(*e) }}
}

// Credential selects requests by their API key or Bearer token.
func Credential(secret string) Matcher {
	return requestMatcher{"credential", func(r *Request) bool {
		sent, err := chargeingest.APIKeyOrBearer(&http.Request{Header: r.Header})
		return err == nil && sent == secret
	}}
}

// Route selects requests by their endpoint.
func Route(route chargeingest.Route) Matcher {
	return requestMatcher{"route " + string(route), func(r *Request) bool { return r.Route == route }}
}

type nth int

// Nth selects the nth request from now on, counted from 1, of those that the other matchers
// select. FailNext with Nth needs n = 1.
func Nth(n int) Matcher { return nth(n) }

func (n nth) String() string               { return fmt.Sprintf("request %d", int(n)) }
func (n nth) matchesRequest(*Request) bool { return true } // [Rule.matches] counts

// RequestWhere has a predicate, which sees no response and must not call the server.
func RequestWhere(predicate func(Request) bool) Matcher {
	return requestMatcher{"request by a predicate", func(r *Request) bool { return predicate(*r) }}
}

func equals(s *string, want string) bool { return s != nil && *s == want }

func matcherNames(matchers []EventMatcher) string {
	if len(matchers) == 0 {
		return "events"
	}
	return joinNames(matchers)
}

func joinNames[M Matcher](matchers []M) string {
	names := make([]string, len(matchers))
	for i, m := range matchers {
		names[i] = m.String()
	}
	return strings.Join(names, ", ")
}
