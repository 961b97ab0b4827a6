// Package memstore keeps charge events in memory.
//
// It is not durable. When the process ends, however it ends, every event that
// it acknowledged is gone, and so are the references and idempotency keys that
// protect against charging twice. It is for tests, demonstrations and
// development; whoever bills from the events needs another store, such as
// package sqlitestore.
//
// In everything else it does what [chargeingest.EventStore] asks for.
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
	"example.com/chargeingest/storekit"
)

var (
	_ chargeingest.EventStore   = (*Store)(nil)
	_ chargeingest.EventReader  = (*Store)(nil)
	_ chargeingest.ReadyChecker = (*Store)(nil)
	_ io.Closer                 = (*Store)(nil)
)

// Options are the settings of a [Store]. The zero value has the defaults.
type Options struct {
	// Entropy is where the random part of the ids comes from; nil is
	// crypto/rand.Reader. A fixed stream, such as a seeded
	// math/rand/v2.ChaCha8, makes equal ids out of equal events. It must not
	// yield zeros only: a step of zero between two ids is drawn again.
	Entropy io.Reader
}

// Store is a [chargeingest.EventStore] in memory. It grows with every event
// and forgets none before it is dropped itself. Safe for concurrent use.
type Store struct {
	mu        sync.RWMutex
	ids       *storekit.IDGenerator
	platforms map[string]*platform
	closed    bool
}

// New returns an empty store.
func New() *Store { return NewWith(Options{}) }

// NewWith returns an empty store with settings of its own.
func NewWith(o Options) *Store {
	if o.Entropy == nil {
		o.Entropy = rand.Reader
	}
	// Only a malformed last id is an error, and there is none.
	ids, _ := storekit.NewIDGenerator(o.Entropy, "")
	return &Store{ids: ids, platforms: make(map[string]*platform)}
}

// Append implements [chargeingest.EventStore]. The id of an event carries the
// time of its receipt. It never waits for more than the calls before it, so
// that a context counts only where it has ended already: then the error is
// chargeingest.ErrNotStored and the context's.
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
	// Nothing is inserted before the last id is made, which can fail.
	made := make([]*event, 0, len(a.Events))
	result, err := decision.Apply(func(i int) (string, error) {
		id, err := s.ids.Next(a.Events[i].ReceivedAt)
		made = append(made, &event{id: id, NewEvent: a.Events[i]})
		return id, err
	})
	if err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	for _, e := range made {
		p.insert(e)
	}
	if record := decision.IdempotencyRecord(result); record != nil {
		p.records[a.IdempotencyKey] = record
	}
	s.platforms[a.Platform] = p
	return result, nil
}

// notStored marks the cause of a refusal; a conflict says as much by itself.
func notStored(cause error) error {
	var conflict *chargeingest.ConflictError
	if errors.As(cause, &conflict) {
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

// List implements [chargeingest.EventReader]. It has no scan limit.
func (s *Store) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	p, unlock, err := s.read(ctx, q.Platform)
	if err != nil {
		return chargeingest.Page{}, err
	}
	defer unlock()
	var after int64
	if q.After != "" {
		// One beyond the end was never given out for this platform. To accept
		// it would be to pass over the events that are still to come.
		if after, err = cursor.Decode(q.After); err != nil || after > int64(len(p.events)) {
			return chargeingest.Page{}, chargeingest.ErrInvalidCursor
		}
	}
	return p.list(q, after), nil
}

// Ready implements [chargeingest.ReadyChecker]: a store is ready until it is
// closed.
func (s *Store) Ready(ctx context.Context) error {
	_, unlock, err := s.read(ctx, "")
	if err != nil {
		return err
	}
	unlock()
	return nil
}

// Close makes every later call return chargeingest.ErrClosed. Calls that are
// under way end first. It returns nil, however often it is called.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.platforms = nil
	return nil
}

// read returns a platform, empty where nothing was stored for it, locked for
// reading until unlock is called.
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
