// Package memstore provides an EventStore in memory, for tests and development.
//
// It is not durable: the events, references and idempotency keys are lost with the process. For
// billing, use a durable store such as package sqlitestore.
package memstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/storekit"
)

var (
	_ chargeingest.EventStore   = (*Store)(nil)
	_ chargeingest.EventReader  = (*Store)(nil)
	_ chargeingest.ReadyChecker = (*Store)(nil)
	_ io.Closer                 = (*Store)(nil)
)

// Options configures a [Store]. The zero value selects the defaults.
type Options struct {
	// Entropy is the source of the random part of ids. A seeded one makes ids reproducible. It
	// must not return only zeros. Default: crypto/rand.Reader.
	Entropy io.Reader
}

// Store is a [chargeingest.EventStore] in memory. It is safe for concurrent use.
type Store struct {
	mu        sync.RWMutex
	ids       *storekit.IDGenerator
	platforms map[string]*platform
	streams   map[relay.Stream]*stream
	closed    bool
}

// New returns an empty store.
func New() *Store { return NewWith(Options{}) }

// NewWith returns an empty store with options.
func NewWith(o Options) *Store {
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	ids, _ := storekit.NewIDGenerator(o.Entropy, "") // only a malformed last id is an error
	return &Store{ids: ids, platforms: make(map[string]*platform), streams: make(map[relay.Stream]*stream)}
}

// Append implements [chargeingest.EventStore]. Ids contain the time of receipt. If ctx
// has ended, Append stores nothing.
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	return storekit.Append(ctx, b, func(a storekit.Attempt) (chargeingest.AppendResult, error) {
		return s.append(ctx, a)
	})
}

func (s *Store) append(ctx context.Context, a storekit.Attempt) (chargeingest.AppendResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chargeingest.AppendResult{}, chargeingest.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	p := s.platforms[a.Platform]
	if p == nil {
		p = newPlatform()
	}
	decision, err := a.Decide(ctx, p)
	if err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	// Creating ids can fail: insert after that.
	result, err := decision.Apply(func(i int) (string, error) { return s.ids.Next(a.Events[i].ReceivedAt) })
	if err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	for i := range result.Outcomes {
		if o := &result.Outcomes[i]; !o.Replayed {
			e := &event{id: o.ID, NewEvent: &a.Events[i]}
			if len(a.Events) > 1 {
				e.NewEvent = new(a.Events[i]) // replays are not kept
			}
			p.insert(e)
		}
	}
	if record := decision.IdempotencyRecord(result); record != nil {
		p.records[a.IdempotencyKey] = record
	}
	s.platforms[a.Platform] = p
	return result, nil
}

func notStored(cause error) error {
	var conflict *chargeingest.ConflictError
	if errors.As(cause, &conflict) || errors.Is(cause, chargeingest.ErrNotStored) {
		return cause
	}
	return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, cause)
}

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	p, unlock, err := s.read(ctx, platform)
	if err != nil {
		return chargeingest.StoredEvent{}, err
	}
	defer unlock()
	e := p.byID(id)
	if e == nil {
		return chargeingest.StoredEvent{}, chargeingest.ErrNotFound
	}
	return e.stored(), nil
}

// List implements [chargeingest.EventReader].
func (s *Store) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	p, unlock, err := s.read(ctx, q.Platform)
	if err != nil {
		return chargeingest.Page{}, err
	}
	defer unlock()
	var after int64
	if q.After != "" {
		// A cursor beyond the end would skip later events.
		if after, err = cursor.Decode(q.After); err != nil || after > int64(len(p.events)) {
			return chargeingest.Page{}, chargeingest.ErrInvalidCursor
		}
	}
	return p.list(q, after), nil
}

// Ready implements [chargeingest.ReadyChecker].
func (s *Store) Ready(ctx context.Context) error {
	_, unlock, err := s.read(ctx, "")
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// Close waits for running calls and returns nil. Later calls return chargeingest.ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.platforms, s.streams = nil, nil
	return nil
}

// read locks a platform for reading until unlock is called.
func (s *Store) read(ctx context.Context, name string) (p *platform, unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, nil, chargeingest.ErrClosed
	}
	p = s.platforms[name]
	if p == nil {
		p = &platform{}
	}
	return p, s.mu.RUnlock, nil
}
