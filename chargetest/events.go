package chargetest

import (
	"cmp"
	"context"
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

// Events are all that is stored, of every platform, in the order of storing. A
// store that had events of a platform before the server has them here once
// something is sent to that platform. They are not to be changed.
func (s *Server) Events() []Event {
	s.t.Helper()
	for {
		s.mu.Lock()
		store, closed := s.store, s.isClosed
		s.mu.Unlock()
		if closed {
			s.errorf("the server is closed, and what it had is gone")
			return nil
		}
		events, err := store.all(context.Background())
		if err == nil {
			return events
		}
		s.mu.Lock()
		gone := s.store != store || s.isClosed // taken away meanwhile
		s.mu.Unlock()
		if !gone {
			s.errorf("read the store: %v", err)
			return nil
		}
	}
}

// Event is the event with a reference, of any platform; the first stored where
// several have one.
func (s *Server) Event(reference string) (ev Event, ok bool) {
	s.t.Helper()
	found := s.find([]EventMatcher{Reference(reference)})
	if len(found) == 0 {
		return Event{}, false
	}
	return found[0], true
}

// find are the stored events that all matchers select.
func (s *Server) find(on []EventMatcher) []Event {
	s.t.Helper()
	return slices.DeleteFunc(s.Events(), func(e Event) bool {
		return slices.ContainsFunc(on, func(m EventMatcher) bool { return !m.matchesEvent(&e) })
	})
}

// WaitEvent waits until an event that all matchers select is stored, and
// returns the first such. When Options.Wait, or the test's time, is over the test
// fails and ends, told of what was stored and refused instead.
func (s *Server) WaitEvent(t Tester, on ...EventMatcher) Event {
	t.Helper()
	s.t.Helper()
	if events := s.WaitEvents(t, 1, on...); len(events) > 0 {
		return events[0]
	}
	return Event{}
}

// WaitEvents is [Server.WaitEvent] for n events or more. It returns all that
// there are when it ends.
func (s *Server) WaitEvents(t Tester, n int, on ...EventMatcher) (found []Event) {
	t.Helper()
	s.t.Helper()
	stored := func() bool {
		s.t.Helper()
		found = s.find(on)
		return len(found) >= n
	}
	if !s.await(t, stored) {
		s.fail(t, on, "%s: %d stored, waited for %d", names(on), len(found), n)
		stop(t)
	}
	return found
}

// WaitRequests waits until n requests or more have come in since New or Reset,
// and returns the journal. They may be in flight still.
func (s *Server) WaitRequests(t Tester, n int) (requests []Request) {
	t.Helper()
	s.t.Helper()
	if !s.await(t, func() bool { requests = s.Requests(); return len(requests) >= n }) {
		s.fail(t, nil, "%d requests came in, waited for %d", len(requests), n)
		stop(t)
	}
	return requests
}

// await asks done again whenever something changes. False says that the time is
// over, or the server is closed. When the test ends it is true: then nobody is
// there to be told.
func (s *Server) await(t Tester, done func() bool) bool {
	s.t.Helper()
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
func (s *Server) patience(t Tester) time.Duration {
	const toReport = time.Second // before the test binary is killed
	if inBubble(t) {
		return cmp.Or(s.options.Wait, time.Hour)
	}
	d := cmp.Or(s.options.Wait, time.Minute)
	if limited, ok := t.(limited); ok {
		if deadline, ok := limited.Deadline(); ok {
			d = min(d, time.Until(deadline)-toReport)
		}
	}
	return d
}

// limited is a test with a deadline.
type limited interface {
	Deadline() (deadline time.Time, ok bool)
}

// inBubble says that a test is in a bubble of testing/synctest, whose time is
// another one: it panics there when it is asked for its deadline.
func inBubble(t Tester) (in bool) {
	defer func() { in = recover() != nil }()
	if limited, ok := t.(limited); ok {
		limited.Deadline()
	}
	return false
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

// Seed stores events on chargeingest.SinglePlatform, as if they had been sent.
// The test fails and ends where the contract rejects one; then none is stored.
func (s *Server) Seed(t Tester, events ...chargeingest.ChargeEvent) []Event {
	t.Helper()
	return s.SeedOn(t, chargeingest.SinglePlatform, events...)
}

// SeedOn is [Server.Seed] on another platform.
func (s *Server) SeedOn(t Tester, platform string, events ...chargeingest.ChargeEvent) []Event {
	t.Helper()
	if len(events) == 0 {
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

// Sample is a valid event with a reference, for [Server.Seed] and for the tests
// of clients; an empty reference is none. Its value is 12.50 EUR.
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

// fail fails a test, with what is behind it.
func (s *Server) fail(t Tester, on []EventMatcher, format string, args ...any) {
	t.Helper()
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, format, args...)
	for _, m := range on {
		for _, miss := range s.nearMisses(m) {
			b.WriteString("\n  " + miss)
		}
	}
	s.report(t, "%s\n%s", b.String(), s.Dump())
}

// report fails a test, unless it has ended.
func (s *Server) report(t Tester, format string, args ...any) {
	t.Helper()
	s.audiences.report(t, func(t Tester) {
		t.Helper()
		t.Errorf("chargetest: "+format, args...)
	})
}

// stop ends a test on whose goroutine it is called, and does nothing on any
// other one: FailNow would end that one, and leave the test waiting for it.
func stop(t Tester) {
	test, ok := t.(interface{ FailNow() })
	if ok && onTestGoroutine() {
		test.FailNow()
	}
}

// onTestGoroutine says that a test, benchmark or fuzz target runs on this
// goroutine: package testing started it.
func onTestGoroutine() bool {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for {
		frame, more := frames.Next()
		switch frame.Function {
		case "testing.tRunner", "testing.fRunner", "testing.(*B).runN":
			return true
		}
		if !more {
			return false
		}
	}
}
