package storetest

import (
	"errors"
	"sync"

	"example.com/chargeingest"
)

// Methods of testedStore end the case after an unexpected result.
type testedStore struct {
	chargeingest.EventStore
	reader chargeingest.EventReader // nil if not implemented
	c      *check
}

func (s *testedStore) append(b chargeingest.Batch) []chargeingest.Outcome {
	s.c.Helper()
	result, err := s.Append(s.c.Context(), b)
	return s.c.wantSuccess(b, appendResult{result, err})
}

func (s *testedStore) appendNew(b chargeingest.Batch) []chargeingest.Outcome {
	s.c.Helper()
	outcomes := s.append(b)
	for i := range outcomes {
		s.c.wantNew(b, i, outcomes[i])
	}
	return outcomes
}

func (s *testedStore) appendReplays(b chargeingest.Batch, originals ...chargeingest.Outcome) {
	s.c.Helper()
	outcomes := s.append(b)
	for i, original := range originals {
		s.c.wantReplay(i, outcomes[i], original)
	}
}

func (s *testedStore) appendConflict(b chargeingest.Batch) *chargeingest.ConflictError {
	s.c.Helper()
	_, err := s.Append(s.c.Context(), b)
	return s.c.wantConflict(err)
}

func (s *testedStore) appendKeyConflict(b chargeingest.Batch) {
	s.c.Helper()
	conflict := s.appendConflict(b)
	wantEqual(s.c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, true)
}

func (s *testedStore) get(platform, id string) chargeingest.StoredEvent {
	s.c.Helper()
	e, err := s.reader.Get(s.c.Context(), platform, id)
	if err != nil {
		s.c.failf("Get of the stored event %s returned error: %v", id, err)
	}
	return e
}

func (s *testedStore) list(q chargeingest.Query) chargeingest.Page {
	s.c.Helper()
	if q.Limit == 0 {
		q.Limit = 100_000
	}
	page, err := s.reader.List(s.c.Context(), q)
	if err != nil {
		s.c.failf("%s: List returned error: %v", describe(q), err)
	}
	if len(page.Events) > q.Limit {
		s.c.failf("List with Limit %d returned %d events", q.Limit, len(page.Events))
	}
	return page
}

func (s *testedStore) pages(q chargeingest.Query) []chargeingest.StoredEvent {
	s.c.Helper()
	var events []chargeingest.StoredEvent
	seen := make(map[string]bool)
	for {
		page := s.list(q)
		for _, e := range page.Events {
			if seen[e.ID] {
				s.c.failf("%s: List returned event %s twice", describe(q), e.ID)
			}
			seen[e.ID] = true
		}
		events = append(events, page.Events...)
		if page.Next == "" {
			return events
		}
		if len(page.Events) == 0 {
			s.c.failf("List returned an empty page with Next %q", page.Next)
		}
		if page.Next == q.After {
			s.c.failf("List returned its own cursor as Next: %q", page.Next)
		}
		q.After = page.Next
	}
}

// wantStored requires exactly these events, in this order, if the store is an
// EventReader.
func (s *testedStore) wantStored(platform string, want ...chargeingest.Outcome) {
	s.c.Helper()
	if s.reader == nil {
		return
	}
	events := s.list(chargeingest.Query{Platform: platform, Order: chargeingest.Ascending}).Events
	s.c.wantEvents("stored events", events, storedEvents(want))
	for _, o := range want[:min(3, len(want))] {
		s.c.wantEvent("Get of a stored event", s.get(platform, o.ID), o.StoredEvent)
	}
}

type appendResult struct {
	result chargeingest.AppendResult
	err    error
}

func (s *testedStore) race(batches []chargeingest.Batch) []appendResult {
	ctx := s.c.Context()
	results := make([]appendResult, len(batches))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, b := range batches {
		wg.Go(func() {
			<-start
			results[i].result, results[i].err = s.Append(ctx, b)
		})
	}
	close(start)
	wg.Wait()
	return results
}

func (c *check) wantSuccess(b chargeingest.Batch, r appendResult) []chargeingest.Outcome {
	c.Helper()
	if r.err != nil {
		c.failf("Append returned error: %v", r.err)
	}
	wantEqual(c, "number of outcomes", len(r.result.Outcomes), len(b.Events))
	return r.result.Outcomes
}

func (c *check) wantConflict(err error) *chargeingest.ConflictError {
	c.Helper()
	var conflict *chargeingest.ConflictError
	if !errors.As(err, &conflict) {
		c.failf("Append returned error %v, want *chargeingest.ConflictError", err)
	}
	return conflict
}

func (c *check) wantNew(b chargeingest.Batch, i int, got chargeingest.Outcome) {
	c.Helper()
	if got.Replayed {
		c.failf("event %d is a replay of %s, want a new event", i, got.ID)
	}
	sent := &b.Events[i]
	c.wantEvent("outcome of a new event", got.StoredEvent, chargeingest.StoredEvent{
		ID: got.ID, Content: sent.Content, TimestampAssigned: sent.TimestampAssigned, Digest: sent.Digest,
	})
}

func (c *check) wantReplay(i int, got, original chargeingest.Outcome) {
	c.Helper()
	if !got.Replayed {
		c.failf("event %d was stored as %s, want a replay of %s", i, got.ID, original.ID)
	}
	c.wantEvent("outcome of a replay", got.StoredEvent, original.StoredEvent)
}

func (c *check) wantEvent(name string, got, want chargeingest.StoredEvent) {
	c.Helper()
	wantEqual(c, name+": ID", got.ID, want.ID)
	if got.Content != want.Content {
		same := 0
		for same < min(len(got.Content), len(want.Content)) && got.Content[same] == want.Content[same] {
			same++
		}
		c.failf("%s: Content from byte %d is %s, want %s",
			name, same, show(got.Content[same:]), show(want.Content[same:]))
	}
	wantEqual(c, name+": TimestampAssigned", got.TimestampAssigned, want.TimestampAssigned)
	wantEqual(c, name+": Digest", got.Digest, want.Digest)
}

func ids(events []chargeingest.StoredEvent) []string {
	list := make([]string, len(events))
	for i := range events {
		list[i] = events[i].ID
	}
	return list
}

func outcomeIDs(outcomes []chargeingest.Outcome) []string {
	list := make([]string, len(outcomes))
	for i := range outcomes {
		list[i] = outcomes[i].ID
	}
	return list
}

func storedEvents(outcomes []chargeingest.Outcome) []chargeingest.StoredEvent {
	events := make([]chargeingest.StoredEvent, len(outcomes))
	for i := range outcomes {
		events[i] = outcomes[i].StoredEvent
	}
	return events
}
