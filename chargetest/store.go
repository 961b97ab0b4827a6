package chargetest

import (
	"context"
	"slices"
	"sync"

	"example.com/chargeingest"
)

type indexedStore struct {
	Store
	server *Server

	mu        sync.Mutex
	positions map[string]string // cursors of the index, by platform
	index     index
}

func newIndexedStore(server *Server, store Store) *indexedStore {
	s := &indexedStore{
		Store: store, server: server, positions: make(map[string]string),
		index: index{byReference: make(map[string][]*Event), byCustomer: make(map[string][]*Event)},
	}
	for _, key := range server.keys() {
		for _, platform := range key.Platforms {
			s.positions[platform] = "" // the store may have events already
		}
	}
	return s
}

func (c *call) storeError() error {
	if c == nil || c.fault.kind != kindStoreError {
		return nil
	}
	return c.fault.err
}

func (s *indexedStore) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	c := callOf(ctx)
	if c != nil {
		if err := c.quirks.reject(c, &b); err != nil {
			return chargeingest.AppendResult{}, err
		}
		if c.quirks.ReturnOriginal {
			b.Duplicates = chargeingest.ReturnOriginal
		}
	}
	if err := c.storeError(); err != nil && !c.fault.afterCommit {
		c.storeFailed = true
		return chargeingest.AppendResult{}, err
	}
	s.mu.Lock()
	if _, known := s.positions[b.Platform]; !known {
		s.positions[b.Platform] = ""
	}
	s.mu.Unlock()
	result, err := s.Store.Append(ctx, b)
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if c != nil && err == nil {
		for i := range result.Outcomes {
			if !result.Outcomes[i].Replayed {
				c.request.Stored++
			}
		}
	}
	s.server.notify()
	if injected := c.storeError(); injected != nil && err == nil {
		c.storeFailed = true
		return chargeingest.AppendResult{}, injected
	}
	return result, err
}

func (s *indexedStore) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if c := callOf(ctx); c.storeError() != nil {
		c.storeFailed = true
		return chargeingest.StoredEvent{}, c.storeError()
	}
	return s.Store.Get(ctx, platform, id)
}

func (s *indexedStore) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	if c := callOf(ctx); c.storeError() != nil {
		c.storeFailed = true
		return chargeingest.Page{}, c.storeError()
	}
	return s.Store.List(ctx, q)
}

// updateIndex must be called with s.mu held.
func (s *indexedStore) updateIndex(ctx context.Context) error {
	var events []*Event
	var err error
	for platform := range s.positions {
		var stored []*Event
		stored, err = s.readPlatform(ctx, platform)
		events = append(events, stored...)
		if err != nil {
			break
		}
	}
	slices.SortFunc(events, compareIDs)
	for _, e := range events {
		s.index.add(e)
	}
	return err
}

func (s *indexedStore) readPlatform(ctx context.Context, platform string) (events []*Event, err error) {
	for {
		page, err := s.Store.List(ctx, chargeingest.Query{
			Platform: platform, Order: chargeingest.Ascending, After: s.positions[platform], Limit: 1000,
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
		s.positions[platform] = page.Position
		if page.Next == "" {
			return events, nil
		}
	}
}
