package chargetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// Event is an event that is stored.
type Event struct {
	chargeingest.ChargeEvent
	Platform string
}

// String is the event on a line: its platform, id and reference, who is charged,
// and how much.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", e.Platform, e.ID, referenceOf(&e.ChargeEvent))
	for _, customer := range []*string{e.CustomerID, e.CustomerReference} {
		if customer != nil {
			fmt.Fprintf(&b, " %s", *customer)
		}
	}
	if v := e.Value; v != nil {
		for _, number := range []*string{v.Number, v.Count} {
			if number != nil {
				fmt.Fprintf(&b, " %s", *number)
			}
		}
		if v.Amount != nil {
			fmt.Fprintf(&b, " %s %s", v.Amount.Quantity, v.Amount.Currency)
		}
	}
	return b.String()
}

// Events returns all stored events, of every platform, in the order of storing. If
// the store had events of a platform before the server used it, they are included
// once something is sent to that platform. They must not be changed.
func (s *Server) Events() []Event {
	s.t.Helper()
	q := new(search)
	if !s.look(s.t, q) {
		return nil
	}
	return q.events()
}

// Event returns the event with a reference, of any platform; the first stored if
// several have it.
func (s *Server) Event(reference string) (ev Event, ok bool) {
	s.t.Helper()
	q := &search{on: []EventMatcher{Reference(reference)}}
	if !s.look(s.t, q) || len(q.found) == 0 {
		return Event{}, false
	}
	return *q.found[0], true
}

// look brings a search up to date. If it cannot, it fails t and returns false.
func (s *Server) look(t TB, q *search) bool {
	t.Helper()
	err := s.update(q)
	if err != nil {
		s.report(t, "%v", err)
	}
	return err == nil
}

var errClosed = errors.New("the server is closed, and what it had is gone")

// update brings a search up to date with the store of the moment.
func (s *Server) update(q *search) error {
	for {
		s.mu.Lock()
		store, closed := s.store, s.isClosed
		s.mu.Unlock()
		if closed {
			return errClosed
		}
		err := q.advance(context.Background(), store)
		if err == nil {
			return nil
		}
		s.mu.Lock()
		gone := s.store != store || s.isClosed // taken away meanwhile
		s.mu.Unlock()
		if !gone {
			return fmt.Errorf("read the store: %w", err)
		}
	}
}

// WaitEvent waits until an event that all matchers select is stored, and returns the
// first of them. After Options.Wait, or shortly before the deadline of the test, the
// test fails and ends; the failure lists what was stored and refused instead.
func (s *Server) WaitEvent(t TB, on ...EventMatcher) Event {
	t.Helper()
	if q := s.waitEvents(t, 1, on); len(q.found) > 0 {
		return *q.found[0]
	}
	return Event{}
}

// WaitEvents is [Server.WaitEvent] for n events or more. It returns all that are
// selected when it ends.
func (s *Server) WaitEvents(t TB, n int, on ...EventMatcher) []Event {
	t.Helper()
	return s.waitEvents(t, n, on).events()
}

func (s *Server) waitEvents(t TB, n int, on []EventMatcher) *search {
	t.Helper()
	q, readable := &search{on: on}, true
	stored := func() bool {
		t.Helper()
		readable = s.look(t, q)
		return !readable || len(q.found) >= n
	}
	if !s.await(t, stored) {
		s.fail(t, on, "%s: %d stored, waited for %d", names(on), len(q.found), n)
		stop(t)
	}
	if !readable {
		stop(t)
	}
	return q
}

// WaitRequests waits until n requests or more have arrived since New or Reset, and
// returns the journal. They may still be in flight.
func (s *Server) WaitRequests(t TB, n int) []Request {
	t.Helper()
	s.waitRequests(t, n)
	return s.Requests()
}

// WaitRequest waits for the nth request, counted from 1, and returns it. Unlike that
// of [Server.WaitRequests], its cost does not grow with the journal.
func (s *Server) WaitRequest(t TB, n int) Request {
	t.Helper()
	if n < 1 {
		s.report(t, "WaitRequest(%d): the first request is 1", n)
		stop(t)
		return Request{}
	}
	s.waitRequests(t, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > len(s.journal) {
		return Request{} // the wait is over
	}
	return *s.journal[n-1]
}

func (s *Server) waitRequests(t TB, n int) {
	t.Helper()
	came := 0
	if !s.await(t, func() bool { came = s.countRequests(); return came >= n }) {
		s.fail(t, nil, "%d requests came in, waited for %d", came, n)
		stop(t)
	}
}

// await calls done whenever something changes. It returns false after the timeout,
// or if the server is closed. It returns true if done does, if the test has ended,
// and if it has failed the test because that is not in the server's bubble.
func (s *Server) await(t TB, done func() bool) bool {
	t.Helper()
	if s.strayed(t) {
		stop(t)
		return true
	}
	ended := s.audiences.attend(t)
	timeout := time.NewTimer(s.patience(t))
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done() {
			return true
		}
		select {
		case <-changed:
		case <-ended:
			return true
		case <-timeout.C:
			return false
		case <-s.closing:
			select {
			case <-ended:
				return true
			default:
				return false
			}
		}
	}
}

// patience is how long to wait.
func (s *Server) patience(t TB) time.Duration {
	const toReport = time.Second // before the test binary is killed
	d := time.Minute
	if s.bubbled {
		d = time.Hour
	}
	d = cmp.Or(s.options.Wait, d)
	if deadline, ok := deadlineOf(t); ok {
		d = min(d, time.Until(deadline)-toReport)
	}
	return d
}

// deadlineOf returns the deadline of a test that has one.
func deadlineOf(t TB) (deadline time.Time, ok bool) {
	if limited, is := t.(limited); is && !isOfBubble(limited) {
		return limited.Deadline()
	}
	return time.Time{}, false
}

func names(on []EventMatcher) string {
	if len(on) == 0 {
		return "events"
	}
	list := make([]string, len(on))
	for i, m := range on {
		list[i] = m.String()
	}
	return strings.Join(list, ", ")
}

// Seed stores events on chargeingest.DefaultPlatform, as if they had been sent. If the
// contract rejects one, none is stored, and the test fails and ends.
func (s *Server) Seed(t TB, events ...chargeingest.ChargeEvent) []Event {
	t.Helper()
	return s.SeedOn(t, chargeingest.DefaultPlatform, events...)
}

// SeedOn is [Server.Seed] on another platform.
func (s *Server) SeedOn(t TB, platform string, events ...chargeingest.ChargeEvent) []Event {
	t.Helper()
	if len(events) == 0 {
		return nil
	}
	if s.strayed(t) {
		stop(t)
		return nil
	}
	s.mu.Lock()
	handler := s.handler
	s.mu.Unlock()
	if handler == nil {
		return nil // the test was told
	}
	result, err := handler.Ingest(context.Background(), chargeingest.IngestRequest{Platform: platform, Events: events})
	if err != nil {
		s.report(t, "Seed: %v", err)
		stop(t)
		return nil
	}
	stored := make([]Event, len(result.Events))
	for i := range result.Events {
		stored[i] = Event{ChargeEvent: result.Events[i], Platform: platform}
	}
	return stored
}

// Sample returns a valid event with a reference, for [Server.Seed] and for the tests
// of clients; an empty reference is null. Its value is 12.50 EUR.
func Sample(reference string) chargeingest.ChargeEvent {
	ev := chargeingest.ChargeEvent{
		ProductItemID: "proi_sample", PricingID: "pric_sample",
		PricingItemID: "prii_sample", PricingItemConfigID: "pico_sample",
		CustomerReference: new("customer-sample"),
		Value:             &chargeingest.Value{Amount: &chargeingest.Amount{Quantity: "12.50", Currency: "EUR"}},
	}
	if reference != "" {
		ev.Reference = &reference
	}
	return ev
}

// mostShown is how many lines of a list a failure has.
const mostShown = 50

// fail fails a test, with what is behind it.
func (s *Server) fail(t TB, on []EventMatcher, format string, args ...any) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format+"\n", args...)
	for _, m := range on {
		writeLast(&b, s.nearMisses(m), mostShown)
	}
	stored := new(search)
	err := s.update(stored)
	s.report(t, "%s%s", &b, s.dump(stored, err, mostShown))
}

// report fails a test, unless it is the server's own and has ended.
func (s *Server) report(t TB, format string, args ...any) {
	t.Helper()
	s.audiences.report(t, func(t TB) {
		t.Helper()
		t.Errorf("chargetest: "+format, args...)
	})
}

// stop ends a test on whose goroutine it is called, and does nothing on any
// other one: FailNow would end that one, and leave the test waiting for it.
func stop(t TB) {
	test, ok := t.(interface{ FailNow() })
	if ok && onGoroutineOf("testing.tRunner", "testing.fRunner", "testing.(*B).runN") {
		test.FailNow()
	}
}

// onGoroutineOf reports whether one of these functions is on the stack.
func onGoroutineOf(functions ...string) bool {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for {
		frame, more := frames.Next()
		if slices.Contains(functions, frame.Function) {
			return true
		}
		if !more {
			return false
		}
	}
}
