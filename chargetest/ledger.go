package chargetest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
)

// ledger is the store as the handler sees it: it fails where a fault says so,
// and knows which platforms have events.
type ledger struct {
	Store
	server *Server

	mu        sync.Mutex
	platforms map[string]*reading
}

// reading is what was read of a platform, from cursor to cursor.
type reading struct {
	position string
	events   []Event
}

func newLedger(s *Server, store Store) *ledger {
	return &ledger{Store: store, server: s, platforms: make(map[string]*reading)}
}

// storeError is what a fault makes the store fail with, nil for none.
func (c *call) storeError() error {
	if c == nil || c.fault.kind != kindStoreError {
		return nil
	}
	return c.fault.err
}

// Append implements [chargeingest.EventStore].
func (l *ledger) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.Receipt, error) {
	c := callOf(ctx)
	if err := c.storeError(); err != nil && !c.fault.committed {
		c.storeFailed = true
		return chargeingest.Receipt{}, err
	}
	l.mu.Lock()
	if l.platforms[b.Platform] == nil {
		l.platforms[b.Platform] = new(reading)
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
		return chargeingest.Receipt{}, injected
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

// all reads what has been stored since it was called last, and returns
// everything, in the order of storing.
func (l *ledger) all(ctx context.Context) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var events []Event
	for platform, r := range l.platforms {
		if err := l.catchUp(ctx, platform, r); err != nil {
			return nil, err
		}
		events = append(events, r.events...)
	}
	// Ids increase in the order of storing, over all platforms.
	slices.SortFunc(events, func(a, b Event) int { return strings.Compare(a.ID, b.ID) })
	return events, nil
}

func (l *ledger) catchUp(ctx context.Context, platform string, r *reading) error {
	for {
		page, err := l.Store.List(ctx, chargeingest.Query{
			Platform: platform, Order: chargeingest.Ascending, After: r.position, Limit: 1000,
		})
		if err != nil {
			return err
		}
		for i := range page.Events {
			ev, err := page.Events[i].Event()
			if err != nil {
				return err
			}
			r.events = append(r.events, Event{ChargeEvent: ev, Platform: platform})
		}
		r.position = page.Position
		if page.Next == "" {
			return nil
		}
	}
}
