package chargetest

import (
	"cmp"
	"errors"
	"time"
)

// WaitEvent waits until all matchers select a stored event, and returns the first. It
// ends the test at the timeout or shortly before the test's deadline.
func (s *Server) WaitEvent(t TB, matchers ...EventMatcher) Event {
	t.Helper()
	if q := s.waitEvents(t, 1, matchers); len(q.found) > 0 {
		return *q.found[0]
	}
	return Event{}
}

// WaitEvents is [Server.WaitEvent] for n events or more, all of which it returns.
func (s *Server) WaitEvents(t TB, n int, matchers ...EventMatcher) []Event {
	t.Helper()
	return s.waitEvents(t, n, matchers).events()
}

func (s *Server) waitEvents(t TB, n int, matchers []EventMatcher) *search {
	t.Helper()
	q := &search{matchers: matchers}
	var err error
	if !s.await(t, func() bool { err = s.refresh(q); return err != nil || len(q.found) >= n }) {
		s.reportWithState(t, matchers, "%s: %d stored, waited for %d", matcherNames(matchers), len(q.found), n)
		failNow(t)
	}
	if err != nil {
		s.report(t, "%v", err)
		failNow(t)
	}
	return q
}

// WaitRequests waits until n requests have arrived, and returns the journal.
func (s *Server) WaitRequests(t TB, n int) []Request {
	t.Helper()
	s.waitRequests(t, n)
	return s.Requests()
}

// WaitRequest waits for the nth request, counted from 1, and returns it.
func (s *Server) WaitRequest(t TB, n int) Request {
	t.Helper()
	if n < 1 {
		s.report(t, "WaitRequest(%d): the first request is 1", n)
		failNow(t)
		return Request{}
	}
	s.waitRequests(t, n)
	r, dropped := s.request(n)
	if dropped {
		s.report(t, "WaitRequest(%d): the request was dropped, because Options.MaxRequests is %d", n, s.options.MaxRequests)
		failNow(t)
	}
	return r
}

func (s *Server) request(n int) (r Request, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.journal.get(n); kept != nil {
		return *kept, false
	}
	return r, n <= s.journal.received
}

func (s *Server) waitRequests(t TB, n int) {
	t.Helper()
	received := 0
	if !s.await(t, func() bool { received = s.countRequests(); return received >= n }) {
		s.reportWithState(t, nil, "%s received, waited for %d", countOf(received, "request"), n)
		failNow(t)
	}
}

func (s *Server) await(t TB, done func() bool) bool {
	t.Helper()
	if s.wrongBubble(t) {
		failNow(t)
		return true
	}
	err := s.awaitChange(s.tests.ending(t), s.waitTimeout(t), done)
	return err == nil || errors.Is(err, errWaitEnded)
}

var (
	errWaitEnded   = errors.New("the caller has ended")
	errWaitTimeout = errors.New("timeout")
)

func (s *Server) awaitChange(ended <-chan struct{}, d time.Duration, done func() bool) error {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ended:
			return errWaitEnded
		case <-timeout.C:
			return errWaitTimeout
		case <-s.closing:
			select {
			case <-ended:
				return errWaitEnded
			default:
				return errClosed
			}
		}
	}
}

func (s *Server) waitTimeout(t TB) time.Duration {
	const reserve = time.Second // to report before the test binary is killed
	d := time.Minute
	if s.inBubble {
		d = time.Hour
	}
	d = cmp.Or(s.options.WaitTimeout, d)
	if deadline, ok := deadlineOf(t); ok {
		d = min(d, time.Until(deadline)-reserve)
	}
	return d
}

func deadlineOf(t TB) (deadline time.Time, ok bool) {
	if d, is := t.(deadliner); is && !isBubbleTest(d) {
		return d.Deadline()
	}
	return time.Time{}, false
}

// notify must be called with s.mu held.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}
