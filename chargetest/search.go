package chargetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

type index struct {
	all         []*Event
	byReference map[string][]*Event
	byCustomer  map[string][]*Event

	inserts int // events not added at the end
}

// Ids increase in storage order.
func compareIDs(a, b *Event) int { return strings.Compare(a.ID, b.ID) }

func (x *index) add(e *Event) {
	end := len(x.all)
	x.all = insertSorted(x.all, e)
	if x.all[end] != e {
		x.inserts++
	}
	if e.Reference != nil {
		x.byReference[*e.Reference] = insertSorted(x.byReference[*e.Reference], e)
	}
	if e.CustomerID != nil {
		x.byCustomer[*e.CustomerID] = insertSorted(x.byCustomer[*e.CustomerID], e)
	}
	if e.CustomerReference != nil && (e.CustomerID == nil || *e.CustomerID != *e.CustomerReference) {
		x.byCustomer[*e.CustomerReference] = insertSorted(x.byCustomer[*e.CustomerReference], e)
	}
}

// insertSorted usually appends.
func insertSorted(list []*Event, e *Event) []*Event {
	at := len(list)
	for at > 0 && compareIDs(list[at-1], e) > 0 {
		at--
	}
	if at == len(list) {
		return append(list, e)
	}
	return slices.Concat(list[:at], []*Event{e}, list[at:]) // other goroutines read the list
}

type search struct {
	matchers []EventMatcher

	found []*Event

	store    *indexedStore
	inserts  int
	narrow   EventMatcher // with the shortest list, or nil
	examined int
}

func (q *search) update(ctx context.Context, store *indexedStore) error {
	list, err := q.candidates(ctx, store)
	if err != nil {
		return err
	}
	if len(q.matchers) == 0 || len(q.matchers) == 1 && q.narrow != nil {
		q.found = list
		return nil
	}
	for _, e := range list[q.examined:] {
		if q.selects(e) {
			q.found = append(q.found, e)
		}
	}
	q.examined = len(list)
	return nil
}

func (q *search) selects(e *Event) bool {
	return !slices.ContainsFunc(q.matchers, func(m EventMatcher) bool { return !m.matchesEvent(e) })
}

// candidates restarts the search unless the list has only grown.
func (q *search) candidates(ctx context.Context, store *indexedStore) ([]*Event, error) {
	store.mu.Lock()
	defer store.mu.Unlock()
	if err := store.updateIndex(ctx); err != nil {
		return nil, err
	}
	x := &store.index
	if q.store != store || q.inserts != x.inserts {
		*q = search{matchers: q.matchers, store: store, inserts: x.inserts}
		shortest := len(x.all) + 1
		for _, m := range q.matchers {
			if list, ok := m.indexed(x); ok && len(list) < shortest {
				q.narrow, shortest = m, len(list)
			}
		}
	}
	if q.narrow == nil {
		return x.all, nil
	}
	list, _ := q.narrow.indexed(x)
	return list, nil
}

func (q *search) events() []Event {
	events := make([]Event, len(q.found))
	for i, e := range q.found {
		events[i] = *e
	}
	return events
}

var errClosed = errors.New("the server is closed, and its events are gone")

func (s *Server) refresh(q *search) error {
	for {
		s.mu.Lock()
		store, closed := s.store, s.isClosed
		s.mu.Unlock()
		if closed {
			return errClosed
		}
		err := q.update(context.Background(), store)
		if err == nil {
			return nil
		}
		s.mu.Lock()
		replaced := s.store != store || s.isClosed
		s.mu.Unlock()
		if !replaced {
			return fmt.Errorf("read the store: %w", err)
		}
	}
}

func (s *Server) refreshed(t TB, q *search) bool {
	t.Helper()
	err := s.refresh(q)
	if err != nil {
		s.report(t, "%v", err)
	}
	return err == nil
}
