package chargetest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
)

// rule is unusable after a violation.
func (f *fields) rule(now time.Time) (*Rule, error) {
	n, hasNext := f.whole("next", 1, maxWhole)
	d, hasFor := f.duration("for", 1, maxDuration)
	p := f.probability("probability")
	seed, _ := f.whole("seed", 0, maxWhole)
	requests, window := f.quota()
	fault := f.fault()
	matchers := f.matchers(n > 1)
	f.rejectUnknown()
	given := f.given("next", "for", "probability", "quota")
	switch {
	case len(given) == 0:
		f.add(chargeingest.CodeMissingField, "next", "is required, or one of for, probability and quota")
	case len(given) > 1:
		f.reject(given[1], "does not apply together with "+given[0])
	case f.has("quota") && f.has("fault"):
		f.reject("fault", "does not apply to quota")
	case !f.has("quota"):
		f.require("fault")
	}
	if f.has("seed") && !f.has("probability") {
		f.reject("seed", "applies to probability only")
	}
	switch {
	case hasNext:
		return failNext(n, fault, matchers)
	case hasFor:
		return failUntil(now, d, fault, matchers)
	case f.has("quota"):
		return quota(requests, window, matchers)
	}
	return failSometimes(p, uint64(seed), fault, matchers)
}

func (f *fields) probability(name string) float64 {
	text, ok := f.get(name)
	p, err := strconv.ParseFloat(text, 64)
	if ok && (err != nil || math.IsNaN(p) || p < 0 || p > 1) {
		f.reject(name, "must be a number from 0 to 1")
	}
	return p
}

func (f *fields) quota() (requests int, window time.Duration) {
	q, ok := f.object("quota")
	if !ok {
		return 0, 0
	}
	return q.requestsPer(0)
}

// faultTypes lists the fields of each type besides type and delay.
var faultTypes = map[string][]string{
	"status":      {"status", "retry_after", "code", "message", "field", "after_commit"},
	"reset":       {"after_commit"},
	"delay":       {"after_commit"},
	"truncated":   {},
	"malformed":   {},
	"slow_body":   {"duration"},
	"store_error": {"error", "after_commit"},
}

var storeErrors = map[string]error{
	"not_stored":      chargeingest.ErrNotStored,
	"outcome_unknown": chargeingest.ErrOutcomeUnknown,
	"overloaded":      chargeingest.ErrOverloaded,
	"closed":          chargeingest.ErrClosed,
}

func (f *fields) fault() Fault {
	f, ok := f.object("fault")
	if !ok {
		return Fault{}
	}
	kind := f.choice("type", "status", "reset", "delay", "truncated", "malformed", "slow_body", "store_error")
	f.require("type")
	status, _ := f.whole("status", 400, 599)
	fault := f.statusFault(status)
	duration, _ := f.duration("duration", 1, maxDuration)
	storeError := storeErrors[f.choice("error", "not_stored", "outcome_unknown", "overloaded", "closed")]
	delay, _ := f.duration("delay", 1, maxDuration)
	afterCommit, _ := f.flag("after_commit")
	f.rejectUnknown()
	f.checkFaultType(kind)
	switch kind {
	case "status":
		f.require("status")
	case "reset":
		fault = Reset()
	case "delay":
		fault = Fault{}
		f.require("delay")
	case "truncated":
		fault = Truncated()
	case "malformed":
		fault = Malformed()
	case "slow_body":
		fault = SlowBody(duration)
		f.require("duration")
	case "store_error":
		fault = StoreError(storeError)
		f.require("error")
		if afterCommit && storeError != nil && fault.AfterCommit().check() != nil {
			f.reject("after_commit", "applies to the error outcome_unknown only: after the others nothing is stored")
		}
	}
	if delay > 0 {
		fault = fault.Delay(delay)
	}
	if afterCommit {
		fault = fault.AfterCommit()
	}
	return fault
}

func (f *fields) statusFault(status int) Fault {
	fault := Status(status)
	if d, ok := f.duration("retry_after", 0, maxDuration); ok {
		fault = fault.RetryAfter(d)
	}
	if code, ok := f.text("code"); ok {
		fault = fault.Code(chargeingest.Code(code))
	}
	if message, ok := f.text("message"); ok {
		fault = fault.Message(message)
	}
	if path, ok := f.text("field"); ok {
		fault = fault.Field(path)
	}
	return fault
}

func (f *fields) checkFaultType(kind string) {
	applies, known := faultTypes[kind]
	for _, name := range []string{"status", "retry_after", "code", "message", "field", "duration", "error", "after_commit"} {
		if f.has(name) && known && !slices.Contains(applies, name) {
			f.reject(name, "does not apply to the type "+kind)
		}
	}
}

var routes = []string{
	string(chargeingest.RouteSingle), string(chargeingest.RouteBatch), string(chargeingest.RouteGet), string(chargeingest.RouteList),
}

func (f *fields) matchers(many bool) (matchers []Matcher) {
	f, ok := f.object("match")
	if !ok {
		return nil
	}
	add := func(name string, matcher func(text string) Matcher) {
		if text, ok := f.text(name); ok {
			matchers = append(matchers, matcher(text))
		}
	}
	add("reference", func(text string) Matcher { return Reference(text) })
	add("customer", func(text string) Matcher { return Customer(text) })
	add("credential", Credential)
	if route := f.choice("route", routes...); route != "" {
		matchers = append(matchers, Route(chargeingest.Route(route)))
	}
	add("method", methodIs)
	add("path", pathIs)
	add("body", bodyContains)
	if n, ok := f.whole("nth", 1, maxWhole); ok {
		matchers = append(matchers, Nth(n))
		if many {
			f.reject("nth", "needs next to be 1")
		}
	}
	f.rejectUnknown()
	return matchers
}

func methodIs(method string) Matcher {
	return requestMatcher{fmt.Sprintf("method %q", method), func(r *Request) bool { return strings.EqualFold(r.Method, method) }}
}

func pathIs(path string) Matcher {
	return requestMatcher{fmt.Sprintf("path %q", path), func(r *Request) bool {
		sent, _, _ := strings.Cut(r.RequestURI, "?")
		return sent == path
	}}
}

func bodyContains(text string) Matcher {
	return requestMatcher{fmt.Sprintf("body with %q", text), func(r *Request) bool { return bytes.Contains(r.Body, []byte(text)) }}
}

func (f *fields) eventMatchers() (matchers []EventMatcher) {
	if reference, ok := f.text("reference"); ok {
		matchers = append(matchers, Reference(reference))
	}
	if customer, ok := f.text("customer"); ok {
		matchers = append(matchers, Customer(customer))
	}
	if platform, ok := f.text("platform"); ok {
		matchers = append(matchers, eventMatcher{
			name:  fmt.Sprintf("platform %q", platform),
			match: func(e *Event) bool { return e.Platform == platform },
		})
	}
	return matchers
}

func (s *Server) controlRule(r *Rule) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := map[string]any{"id": r.id, "description": r.String(), "hits": r.hits}
	if r.limit > 0 {
		shown["left"] = r.limit - r.hits
	}
	if !r.end.IsZero() {
		shown["until"] = r.end
	}
	for name, value := range r.form {
		shown[name] = value
	}
	return shown
}

func hideCredential(form map[string]any) {
	if match, ok := form["match"].(map[string]any); ok && match["credential"] != nil {
		match["credential"] = hidden
	}
}

const hidden = "•••"

func (s *Server) activeRules() []*Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	return slices.DeleteFunc(slices.Clone(s.rules), func(r *Rule) bool { return r.exhausted(now) })
}
