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
	"example.com/chargeingest/internal/httpapi"
)

// rule is unusable after a violation.
func (f fields) rule(now time.Time) (*Rule, error) {
	n, hasNext := f.Whole("next", 1, httpapi.MaxWhole)
	d, hasFor := f.Duration("for", 1, httpapi.MaxDuration)
	p := f.probability("probability")
	seed, _ := f.Whole("seed", 0, httpapi.MaxWhole)
	requests, window := f.quota()
	fault := f.fault()
	matchers := f.matchers(n > 1)
	f.RejectUnknown()
	given := f.Given("next", "for", "probability", "quota")
	switch {
	case len(given) == 0:
		f.Add(chargeingest.CodeMissingField, "next", "is required, or one of for, probability and quota")
	case len(given) > 1:
		f.Reject(given[1], "does not apply together with "+given[0])
	case f.Has("quota") && f.Has("fault"):
		f.Reject("fault", "does not apply to quota")
	case !f.Has("quota"):
		f.Require("fault")
	}
	if f.Has("seed") && !f.Has("probability") {
		f.Reject("seed", "applies to probability only")
	}
	switch {
	case hasNext:
		return failNext(n, fault, matchers)
	case hasFor:
		return failUntil(now, d, fault, matchers)
	case f.Has("quota"):
		return quota(requests, window, matchers)
	}
	return failSometimes(p, uint64(seed), fault, matchers)
}

func (f fields) probability(name string) float64 {
	text, ok := f.Get(name)
	p, err := strconv.ParseFloat(text, 64)
	if ok && (err != nil || math.IsNaN(p) || p < 0 || p > 1) {
		f.Reject(name, "must be a number from 0 to 1")
	}
	return p
}

func (f fields) quota() (requests int, window time.Duration) {
	q, ok := f.object("quota")
	if !ok {
		return 0, 0
	}
	return q.requestsPer(0)
}

// faultTypes lists the fields of each type in addition to type and delay.
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

func (f fields) fault() Fault {
	f, ok := f.object("fault")
	if !ok {
		return Fault{}
	}
	kind := f.Choice("type", "status", "reset", "delay", "truncated", "malformed", "slow_body", "store_error")
	f.Require("type")
	status, _ := f.Whole("status", 400, 599)
	fault := f.statusFault(status)
	duration, _ := f.Duration("duration", 1, httpapi.MaxDuration)
	storeError := storeErrors[f.Choice("error", "not_stored", "outcome_unknown", "overloaded", "closed")]
	delay, _ := f.Duration("delay", 1, httpapi.MaxDuration)
	afterCommit, _ := f.Flag("after_commit")
	f.RejectUnknown()
	f.checkFaultType(kind)
	switch kind {
	case "status":
		f.Require("status")
	case "reset":
		fault = Reset()
	case "delay":
		fault = Fault{}
		f.Require("delay")
	case "truncated":
		fault = Truncated()
	case "malformed":
		fault = Malformed()
	case "slow_body":
		fault = SlowBody(duration)
		f.Require("duration")
	case "store_error":
		fault = StoreError(storeError)
		f.Require("error")
		if afterCommit && storeError != nil && fault.AfterCommit().check() != nil {
			f.Reject("after_commit", "applies to the error outcome_unknown only: after the others nothing is stored")
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

func (f fields) statusFault(status int) Fault {
	fault := Status(status)
	if d, ok := f.Duration("retry_after", 0, httpapi.MaxDuration); ok {
		fault = fault.RetryAfter(d)
	}
	if code, ok := f.Text("code"); ok {
		fault = fault.Code(chargeingest.Code(code))
	}
	if message, ok := f.Text("message"); ok {
		fault = fault.Message(message)
	}
	if path, ok := f.Text("field"); ok {
		fault = fault.Field(path)
	}
	return fault
}

func (f fields) checkFaultType(kind string) {
	applies, known := faultTypes[kind]
	for _, name := range []string{"status", "retry_after", "code", "message", "field", "duration", "error", "after_commit"} {
		if f.Has(name) && known && !slices.Contains(applies, name) {
			f.Reject(name, "does not apply to the type "+kind)
		}
	}
}

var routes = []string{
	string(chargeingest.RouteSingle), string(chargeingest.RouteBatch), string(chargeingest.RouteGet), string(chargeingest.RouteList),
}

func (f fields) matchers(many bool) (matchers []Matcher) {
	f, ok := f.object("match")
	if !ok {
		return nil
	}
	add := func(name string, matcher func(text string) Matcher) {
		if text, ok := f.Text(name); ok {
			matchers = append(matchers, matcher(text))
		}
	}
	add("reference", func(text string) Matcher { return Reference(text) })
	add("customer", func(text string) Matcher { return Customer(text) })
	add("credential", Credential)
	if route := f.Choice("route", routes...); route != "" {
		matchers = append(matchers, Route(chargeingest.Route(route)))
	}
	add("method", methodIs)
	add("path", pathIs)
	add("body", bodyContains)
	if n, ok := f.Whole("nth", 1, httpapi.MaxWhole); ok {
		matchers = append(matchers, Nth(n))
		if many {
			f.Reject("nth", "needs next to be 1")
		}
	}
	f.RejectUnknown()
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

func (f fields) eventMatchers() (matchers []EventMatcher) {
	if reference, ok := f.Text("reference"); ok {
		matchers = append(matchers, Reference(reference))
	}
	if customer, ok := f.Text("customer"); ok {
		matchers = append(matchers, Customer(customer))
	}
	if platform, ok := f.Text("platform"); ok {
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
