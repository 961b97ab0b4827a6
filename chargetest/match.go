package chargetest

import (
	"fmt"

	"example.com/chargeingest"
)

// Matcher selects requests.
type Matcher interface {
	fmt.Stringer
	matchesRequest(r *Request) bool
}

// EventMatcher selects events, and requests that carry such an event.
type EventMatcher interface {
	Matcher
	matchesEvent(e *Event) bool

	// among returns a list that has every event that the matcher selects, and no
	// other one, if the index has such a list.
	among(x *index) (list []*Event, ok bool)
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
	list  func(*index) []*Event // nil if the index has none
}

func (m eventMatcher) String() string             { return m.name }
func (m eventMatcher) matchesEvent(e *Event) bool { return m.match(e) }

func (m eventMatcher) among(x *index) ([]*Event, bool) {
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

// referenceMatcher knows its reference, for the near misses.
type referenceMatcher struct {
	eventMatcher
	reference string
}

// Reference selects the event with this reference.
func Reference(reference string) EventMatcher {
	return referenceMatcher{eventMatcher{
		name:  fmt.Sprintf("reference %q", reference),
		match: func(e *Event) bool { return is(e.Reference, reference) },
		list:  func(x *index) []*Event { return x.byReference[reference] },
	}, reference}
}

// Customer selects events by their customer_id or customer_reference.
func Customer(customer string) EventMatcher {
	return eventMatcher{
		name:  fmt.Sprintf("customer %q", customer),
		match: func(e *Event) bool { return is(e.CustomerID, customer) || is(e.CustomerReference, customer) },
		list:  func(x *index) []*Event { return x.byCustomer[customer] },
	}
}

// EventWhere selects events by a predicate. Events of requests have no platform yet,
// and if the request is invalid only the fields that can be read. The predicate must
// not call the server.
func EventWhere(predicate func(Event) bool) EventMatcher {
	return eventMatcher{name: "event by a predicate", match: func(e *Event) bool { return predicate(*e) }}
}

// Credential selects requests by their API key or Bearer token.
func Credential(secret string) Matcher {
	return requestMatcher{"credential", func(r *Request) bool {
		sent, err := chargeingest.APIKeyOrBearer(r.asHTTP())
		return err == nil && sent == secret
	}}
}

// Route selects requests by their endpoint.
func Route(route chargeingest.Route) Matcher {
	return requestMatcher{"route " + string(route), func(r *Request) bool { return r.Route == route }}
}

// nth is the matcher that looks at what the others of a fault left, and only
// counts.
type nth int

// Nth selects the nth request, counted from 1, of those that the other matchers of
// the fault select, from the call that injects the fault on.
func Nth(n int) Matcher { return nth(n) }

func (n nth) String() string               { return fmt.Sprintf("call %d", int(n)) }
func (n nth) matchesRequest(*Request) bool { return true }

// RequestWhere selects requests by a predicate, which sees what was sent and no
// response. It must not call the server.
func RequestWhere(predicate func(Request) bool) Matcher {
	return requestMatcher{"request by a predicate", func(r *Request) bool { return predicate(*r) }}
}

func is(s *string, want string) bool { return s != nil && *s == want }
