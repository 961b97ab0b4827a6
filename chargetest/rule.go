package chargetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// Rule is an injected fault.
type Rule struct {
	server   *Server
	id       int
	form     map[string]any // of a rule of the control API
	name     string
	matchers []Matcher

	decide func(now time.Time) (f Fault, hit bool)

	limit int // of hits, if positive
	end   time.Time

	selected int // requests, by all matchers except Nth
	hits     int
}

// FailNext injects a fault into the next n requests that all matchers select. The first of
// several faults wins. Faults used fewer than n times are logged at the end.
func (s *Server) FailNext(n int, f Fault, matchers ...Matcher) *Rule {
	s.t.Helper()
	return s.inject(failNext(n, f, matchers))
}

func failNext(n int, f Fault, matchers []Matcher) (*Rule, error) {
	r := &Rule{name: fmt.Sprintf("FailNext(%d, %s)", n, f), matchers: matchers, limit: n, decide: func(time.Time) (Fault, bool) {
		return f, true
	}}
	return r, r.check(f.check(), n > 0, "n must be 1 or more")
}

// FailFor injects a fault for d of the server's clock. The Retry-After of a [Status] is the
// remaining time.
func (s *Server) FailFor(d time.Duration, f Fault, matchers ...Matcher) *Rule {
	s.t.Helper()
	return s.inject(failUntil(s.Now(), d, f, matchers))
}

func failUntil(now time.Time, d time.Duration, f Fault, matchers []Matcher) (*Rule, error) {
	end := now.Add(d)
	r := &Rule{name: fmt.Sprintf("FailFor(%s, %s)", d, f), matchers: matchers, end: end, decide: func(now time.Time) (Fault, bool) {
		if f.retryAfter > 0 {
			return f.RetryAfter(end.Sub(now)), true
		}
		return f, true
	}}
	return r, r.check(f.check(), d > 0, "d must be longer than 0")
}

// FailSometimes injects a fault with probability p, reproducibly for each seed.
func (s *Server) FailSometimes(p float64, seed uint64, f Fault, matchers ...Matcher) *Rule {
	s.t.Helper()
	return s.inject(failSometimes(p, seed, f, matchers))
}

func failSometimes(p float64, seed uint64, f Fault, matchers []Matcher) (*Rule, error) {
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // reproducible by design
	r := &Rule{name: fmt.Sprintf("FailSometimes(%g, %d, %s)", p, seed, f), matchers: matchers, decide: func(time.Time) (Fault, bool) {
		return f, random.Float64() < p
	}}
	return r, r.check(f.check(), p >= 0 && p <= 1, "p must be from 0 to 1")
}

// Quota limits selected requests to n per window of the server's clock, with 429 and a
// Retry-After. The first window starts with the first request.
func (s *Server) Quota(n int, window time.Duration, matchers ...Matcher) *Rule {
	s.t.Helper()
	return s.inject(quota(n, window, matchers))
}

func quota(n int, window time.Duration, matchers []Matcher) (*Rule, error) {
	var end time.Time
	var used int
	exceeded := Status(429).Message(fmt.Sprintf("the quota is %s per %s", countOf(n, "request"), window))
	r := &Rule{name: fmt.Sprintf("Quota(%d, %s)", n, window), matchers: matchers, decide: func(now time.Time) (Fault, bool) {
		if end.IsZero() || !now.Before(end) {
			end, used = now.Add(window), 0
		}
		if used < n {
			used++
			return exceeded, false
		}
		return exceeded.RetryAfter(end.Sub(now)), true
	}}
	return r, r.check(nil, n >= 0 && window > 0, "n must be 0 or more and the window longer than 0")
}

func (r *Rule) check(err error, valid bool, requirement string) error {
	for _, m := range r.matchers {
		if n, ok := m.(nth); ok && (n < 1 || r.limit > 1) {
			valid, requirement = false, "Nth must be 1 or more, and FailNext with Nth needs n = 1"
		}
	}
	if err == nil && !valid {
		err = errors.New(requirement)
	}
	return err
}

func (s *Server) inject(r *Rule, err error) *Rule {
	s.t.Helper()
	r.server = s
	if err != nil {
		s.errorf("%s: %v", r.name, err)
		return r
	}
	s.addRule(r)
	return r
}

func (s *Server) addRule(r *Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastRule++
	r.server, r.id = s, s.lastRule
	s.rules = append(s.rules, r)
}

// Hits returns how often the fault was injected.
func (r *Rule) Hits() int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.hits
}

// Remove stops injecting the fault.
func (r *Rule) Remove() {
	s := r.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.DeleteFunc(s.rules, func(other *Rule) bool { return other == r })
}

// faultFor must be called with s.mu held.
func (s *Server) faultFor(req *Request) (Fault, *Rule) {
	var fault Fault
	var rule *Rule
	now := s.now()
	for _, r := range s.rules {
		// Nth counts in later rules, too.
		if r.exhausted(now) || !s.matches(r, req) || rule != nil {
			continue
		}
		if f, hit := r.decide(now); hit {
			r.hits++
			fault, rule = f, r
		}
	}
	s.rules = slices.DeleteFunc(s.rules, func(r *Rule) bool { return r.exhausted(now) })
	return fault, rule
}

func (r *Rule) exhausted(now time.Time) bool {
	return r.limit > 0 && r.hits >= r.limit || !r.end.IsZero() && !now.Before(r.end)
}

func (s *Server) matches(r *Rule, req *Request) (matched bool) {
	defer func() {
		if v := recover(); v != nil {
			s.t.Helper()
			frame := panicFrame()
			s.errorf("a predicate of %s panicked at %s:%d: %v", r, filepath.Base(frame.File), frame.Line, v)
			matched = false
		}
	}()
	return r.matches(req)
}

func (r *Rule) matches(req *Request) bool {
	for _, m := range r.matchers {
		if !m.matchesRequest(req) {
			return false
		}
	}
	r.selected++
	return !slices.ContainsFunc(r.matchers, func(m Matcher) bool {
		n, counts := m.(nth)
		return counts && int(n) != r.selected
	})
}

func (s *Server) unusedRules() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		switch {
		case r.hits >= r.limit:
		case r.hits == 0:
			lines = append(lines, r.String()+" was never used")
		default:
			lines = append(lines, fmt.Sprintf("%s was used %d of %s", r, r.hits, countOf(r.limit, "time")))
		}
	}
	return lines
}

func countOf(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (r *Rule) String() string {
	if len(r.matchers) == 0 {
		return r.name
	}
	return r.name + " for " + joinNames(r.matchers)
}
