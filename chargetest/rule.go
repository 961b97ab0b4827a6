package chargetest

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Rule is an injected fault.
type Rule struct {
	server *Server
	name   string
	on     []Matcher

	// admit decides about a request that was selected, at a time of the
	// server's clock.
	admit func(now time.Time) (f Fault, hit bool)

	// wanted is how often a test counts on it to be met, and how often it is at
	// most; 0 is as it comes.
	wanted int

	// until is when it ends by the server's clock; zero is never.
	until time.Time

	calls int // requests that the matchers other than Nth selected
	hits  int
}

// FailNext injects a fault into the next n requests that all matchers select. A
// request meets at most one fault, the first that was injected and selects it.
func (s *Server) FailNext(n int, f Fault, on ...Matcher) *Rule {
	s.t.Helper()
	r := &Rule{name: fmt.Sprintf("FailNext(%d, %s)", n, f), on: on, wanted: n, admit: func(time.Time) (Fault, bool) {
		return f, true
	}}
	return s.order(r, f.check(), n > 0, "n must be 1 or more")
}

// FailFor is an outage: until the server's clock has advanced by d, every request
// that all matchers select meets the fault. The Retry-After of a [Status] is the time
// that is left.
func (s *Server) FailFor(d time.Duration, f Fault, on ...Matcher) *Rule {
	s.t.Helper()
	until := s.Now().Add(d)
	r := &Rule{name: fmt.Sprintf("FailFor(%s, %s)", d, f), on: on, until: until, admit: func(now time.Time) (Fault, bool) {
		if f.retryAfter > 0 {
			return f.RetryAfter(until.Sub(now)), true
		}
		return f, true
	}}
	return s.order(r, f.check(), d > 0, "d must be longer than 0")
}

// FailSometimes injects a fault with probability p into each request that all
// matchers select. The same seed makes the same decisions in each run.
func (s *Server) FailSometimes(p float64, seed uint64, f Fault, on ...Matcher) *Rule {
	s.t.Helper()
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // it is to be predictable
	r := &Rule{name: fmt.Sprintf("FailSometimes(%g, %d, %s)", p, seed, f), on: on, admit: func(time.Time) (Fault, bool) {
		return f, random.Float64() < p
	}}
	return s.order(r, f.check(), p >= 0 && p <= 1, "p must be from 0 to 1")
}

// Quota accepts n of the requests that all matchers select in each window of the
// server's clock. The first window starts with the first request. The response to all
// others is 429, with a Retry-After of the time until the next window.
func (s *Server) Quota(n int, window time.Duration, on ...Matcher) *Rule {
	s.t.Helper()
	var end time.Time
	var used int
	refusal := Status(429).Message(fmt.Sprintf("the quota is %d requests in %s", n, window))
	r := &Rule{name: fmt.Sprintf("Quota(%d, %s)", n, window), on: on, admit: func(now time.Time) (Fault, bool) {
		if end.IsZero() || !now.Before(end) {
			end, used = now.Add(window), 0
		}
		if used < n {
			used++
			return refusal, false
		}
		return refusal.RetryAfter(end.Sub(now)), true
	}}
	return s.order(r, nil, n >= 0 && window > 0, "n must be 0 or more and the window longer than 0")
}

// order adds a rule, or fails the test where it is wrong.
func (s *Server) order(r *Rule, err error, fits bool, must string) *Rule {
	s.t.Helper()
	r.server = s
	for _, m := range r.on {
		if n, ok := m.(nth); ok && (n < 1 || r.wanted > 1) {
			fits, must = false, "Nth must be 1 or more, and only one request can be it"
		}
	}
	switch {
	case err != nil:
		s.errorf("%s: %v", r.name, err)
	case !fits:
		s.errorf("%s: %s", r.name, must)
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rules = append(s.rules, r)
	}
	return r
}

// Hits returns how many requests have met the fault.
func (r *Rule) Hits() int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.hits
}

// Remove stops the fault from being injected.
func (r *Rule) Remove() {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.DeleteFunc(s.rules, func(other *Rule) bool { return other == r })
}

// pick returns the fault that a request meets, and its rule, or nil. Called with
// s.mu held.
func (s *Server) pick(req *Request) (Fault, *Rule) {
	var met Fault
	var by *Rule
	now := s.clock()
	for _, r := range s.rules {
		if r.spent(now) || !s.selects(r, req) || by != nil {
			continue // those behind the one that is met count all the same
		}
		if f, hit := r.admit(now); hit {
			r.hits++
			met, by = f, r
		}
	}
	// What is spent costs later requests nothing.
	s.rules = slices.DeleteFunc(s.rules, func(r *Rule) bool { return r.spent(now) })
	return met, by
}

// spent reports whether no request can meet the fault any more.
func (r *Rule) spent(now time.Time) bool {
	return r.wanted > 0 && r.hits >= r.wanted || !r.until.IsZero() && !now.Before(r.until)
}

// selects is Rule.selects; a predicate of the test's that panics fails the test
// and selects nothing.
func (s *Server) selects(r *Rule, req *Request) (selected bool) {
	defer func() {
		if v := recover(); v != nil {
			s.t.Helper()
			at := panicFrame()
			s.errorf("a predicate of %s panicked at %s:%d: %v", r, filepath.Base(at.File), at.Line, v)
			selected = false
		}
	}()
	return r.selects(req)
}

// selects says that all matchers select a request. Nth counts what the others
// left.
func (r *Rule) selects(req *Request) bool {
	for _, m := range r.on {
		if !m.matchesRequest(req) {
			return false
		}
	}
	r.calls++
	return !slices.ContainsFunc(r.on, func(m Matcher) bool {
		n, counts := m.(nth)
		return counts && int(n) != r.calls
	})
}

// unmet says that a test ordered more faults than were met. Called when the
// server has ended.
func (r *Rule) unmet() string {
	if r.hits >= r.wanted {
		return ""
	}
	return fmt.Sprintf("%s was met %d times", r, r.hits)
}

// String is the call that injected the fault.
func (r *Rule) String() string {
	if len(r.on) == 0 {
		return r.name
	}
	names := make([]string, len(r.on))
	for i, m := range r.on {
		names[i] = m.String()
	}
	return r.name + " for " + strings.Join(names, ", ")
}
