package sqlitestore

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// changes of the journal share the transaction of the next appends, so that these do not wait
// for another sync.
type changes struct {
	ready chan struct{}

	mu     sync.Mutex
	queued []*change
}

// A change runs again in its own transaction if a shared one fails.
type change struct {
	run     func(*session) error
	refused error // of run, which then wrote nothing
	done    chan error
}

func (c *change) runIn(s *session) error {
	err := guarded(func() error { return c.run(s) })
	if c.refused = nil; isRefusal(err) {
		c.refused, err = err, nil
	}
	return err
}

func isRefusal(err error) bool {
	for _, refusal := range []error{relay.ErrLeaseHeld, relay.ErrLeaseLost, relay.ErrRetired, chargeingest.ErrNotFound} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func (c *change) finish(err error) { c.done <- cmp.Or(err, c.refused) }

func (c *changes) take() (all []*change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, c.queued = c.queued, nil
	return all
}

// change returns once run's transaction is committed and synced. If ctx ends before, run may
// still be called.
func (w *writer) change(ctx context.Context, run func(*session) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &change{run: run, done: make(chan error, 1)}
	w.changes.mu.Lock()
	w.changes.queued = append(w.changes.queued, c)
	w.changes.mu.Unlock()
	select {
	case w.changes.ready <- struct{}{}:
	default:
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stopped:
	}
	select {
	case err := <-c.done:
		return err
	default:
		return chargeingest.ErrClosed
	}
}
