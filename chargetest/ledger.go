package chargetest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
)

// ledger is the store as the handler sees it: it fails where a fault says so,
// and keeps what was read of it.
type ledger struct {
	Store
	server *Server

	mu        sync.Mutex
	positions map[string]string // how far each platform was read
	index     index
}

func newLedger(s *Server, store Store) *ledger {
	return &ledger{
		Store: store, server: s, positions: make(map[string]string),
		index: index{byReference: make(map[string][]*Event), byCustomer: make(map[string][]*Event)},
	}
}

// storeError is what a fault makes the store fail with, nil for none.
func (c *call) storeError() error {
	if c == nil || c.fault.kind != kindStoreError {
		return nil
	}
	return c.fault.err
}

// Append implements [chargeingest.EventStore].
func (l *ledger) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	c := callOf(ctx)
	if err := c.storeError(); err != nil && !c.fault.committed {
		c.storeFailed = true
		return chargeingest.AppendResult{}, err
	}
	l.mu.Lock()
	if _, known := l.positions[b.Platform]; !known {
		l.positions[b.Platform] = ""
	}
	l.mu.Unlock()
	receipt, err := l.Store.Append(ctx, b)
	l.server.mu.Lock()
	defer l.server.mu.Unlock()
	if c != nil && err == nil {
		for i := range receipt.Outcomes {
			if !receipt.Outcomes[i].Replayed {
				c.request.Stored++
			}
		}
	}
	l.server.notify()
	if injected := c.storeError(); injected != nil && err == nil {
		c.storeFailed = true
		return chargeingest.AppendResult{}, injected
	}
	return receipt, err
}

// Get implements [chargeingest.EventReader].
func (l *ledger) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if c := callOf(ctx); c.storeError() != nil {
		c.storeFailed = true
		return chargeingest.StoredEvent{}, c.storeError()
	}
	return l.Store.Get(ctx, platform, id)
}

// List implements [chargeingest.EventReader].
func (l *ledger) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	if c := callOf(ctx); c.storeError() != nil {
		c.storeFailed = true
		return chargeingest.Page{}, c.storeError()
	}
	return l.Store.List(ctx, q)
}

// read reads what was stored since the last call. Called with l.mu held.
func (l *ledger) read(ctx context.Context) error {
	var events []*Event
	var err error
	for platform := range l.positions {
		var stored []*Event
		stored, err = l.readPlatform(ctx, platform)
		events = append(events, stored...)
		if err != nil {
			break
		}
	}
	slices.SortFunc(events, byID)
	for _, e := range events {
		l.index.add(e)
	}
	return err
}

// readPlatform returns what was stored on a platform since the last call, as far
// as it could be read.
func (l *ledger) readPlatform(ctx context.Context, platform string) (events []*Event, err error) {
	for {
		page, err := l.Store.List(ctx, chargeingest.Query{
			Platform: platform, Order: chargeingest.Ascending, After: l.positions[platform], Limit: 1000,
		})
		if err != nil {
			return events, err
		}
		stored := make([]*Event, len(page.Events))
		for i := range page.Events {
			ev, err := page.Events[i].Event()
			if err != nil {
				return events, err
			}
			stored[i] = &Event{ChargeEvent: ev, Platform: platform}
		}
		events = append(events, stored...)
		l.positions[platform] = page.Position
		if page.Next == "" {
			return events, nil
		}
	}
}

// index is the events that were read, in the order of storing. Slices of it stay
// as they are when events are added.
type index struct {
	all         []*Event
	byReference map[string][]*Event
	byCustomer  map[string][]*Event // by customer_id and customer_reference

	// inserts is how many events were added before one that was there already.
	inserts int
}

// byID compares events by the order of storing: ids increase in it, over all
// platforms.
func byID(a, b *Event) int { return strings.Compare(a.ID, b.ID) }

func (x *index) add(e *Event) {
	before := len(x.all)
	x.all = insert(x.all, e)
	if x.all[before] != e {
		x.inserts++
	}
	if e.Reference != nil {
		x.byReference[*e.Reference] = insert(x.byReference[*e.Reference], e)
	}
	if e.CustomerID != nil {
		x.byCustomer[*e.CustomerID] = insert(x.byCustomer[*e.CustomerID], e)
	}
	if e.CustomerReference != nil && (e.CustomerID == nil || *e.CustomerID != *e.CustomerReference) {
		x.byCustomer[*e.CustomerReference] = insert(x.byCustomer[*e.CustomerReference], e)
	}
}

// insert returns the list with an event more, nearly always at its end. An event
// is read after a later one if both were being stored, on two platforms.
func insert(list []*Event, e *Event) []*Event {
	at := len(list)
	for at > 0 && byID(list[at-1], e) > 0 {
		at--
	}
	if at == len(list) {
		return append(list, e)
	}
	return slices.Concat(list[:at], []*Event{e}, list[at:]) // others may be reading the old list
}

// search is for the events that all matchers select. What it has looked at it does
// not look at again.
type search struct {
	on []EventMatcher

	found []*Event // in the order of storing

	ledger  *ledger
	inserts int
	by      EventMatcher // has the list that is looked through; nil for all events
	seen    int          // of that list
}

// advance looks at the events that were stored since the last call.
func (q *search) advance(ctx context.Context, l *ledger) error {
	list, err := q.candidates(ctx, l)
	if err != nil {
		return err
	}
	if len(q.on) == 0 || len(q.on) == 1 && q.by != nil {
		q.found = list
		return nil
	}
	for _, e := range list[q.seen:] {
		if q.selects(e) {
			q.found = append(q.found, e)
		}
	}
	q.seen = len(list)
	return nil
}

func (q *search) selects(e *Event) bool {
	return !slices.ContainsFunc(q.on, func(m EventMatcher) bool { return !m.matchesEvent(e) })
}

// candidates returns the shortest list that has all events that the search is for.
// The search begins again if that list is not a longer one of the last call's.
func (q *search) candidates(ctx context.Context, l *ledger) ([]*Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(ctx); err != nil {
		return nil, err
	}
	x := &l.index
	if q.ledger != l || q.inserts != x.inserts {
		*q = search{on: q.on, ledger: l, inserts: x.inserts}
		shortest := len(x.all) + 1
		for _, m := range q.on {
			if list, ok := m.among(x); ok && len(list) < shortest {
				q.by, shortest = m, len(list)
			}
		}
	}
	if q.by == nil {
		return x.all, nil
	}
	list, _ := q.by.among(x)
	return list, nil
}

// events returns what was found.
func (q *search) events() []Event {
	events := make([]Event, len(q.found))
	for i, e := range q.found {
		events[i] = *e
	}
	return events
}
