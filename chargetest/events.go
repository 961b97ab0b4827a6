package chargetest

import (
	"context"
	"fmt"
	"strings"

	"example.com/chargeingest"
)

// Event is a stored event.
type Event struct {
	chargeingest.ChargeEvent
	Platform string
}

func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", e.Platform, e.ID, bracketedReference(&e.ChargeEvent))
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

// Events returns the stored events in storage order by platform. The caller must not modify
// them.
func (s *Server) Events() []Event {
	s.t.Helper()
	q := new(search)
	if !s.refreshed(s.t, q) {
		return nil
	}
	return q.events()
}

// Event returns the first stored event with a reference, on any platform.
func (s *Server) Event(reference string) (ev Event, ok bool) {
	s.t.Helper()
	q := &search{matchers: []EventMatcher{Reference(reference)}}
	if !s.refreshed(s.t, q) || len(q.found) == 0 {
		return Event{}, false
	}
	return *q.found[0], true
}

// Seed stores events on chargeingest.DefaultPlatform. If one is invalid, it stores nothing and
// ends the test.
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
	if s.wrongBubble(t) {
		failNow(t)
		return nil
	}
	stored, err := s.seed(platform, events)
	if err != nil {
		s.report(t, "Seed: %v", err)
		failNow(t)
	}
	return stored
}

func (s *Server) seed(platform string, events []chargeingest.ChargeEvent) ([]Event, error) {
	s.mu.Lock()
	handler := s.handler
	s.mu.Unlock()
	if handler == nil {
		return nil, nil // the test has failed already
	}
	result, err := handler.Ingest(context.Background(), chargeingest.IngestRequest{Platform: platform, Events: events})
	if err != nil {
		return nil, err
	}
	stored := make([]Event, len(result.Events))
	for i := range result.Events {
		stored[i] = Event{ChargeEvent: result.Events[i], Platform: platform}
	}
	return stored, nil
}

// Sample returns a valid event, without a reference if that is empty.
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
