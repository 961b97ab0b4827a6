package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	"example.com/chargeingest"
)

// Append implements [chargeingest.EventStore].
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return chargeingest.Receipt{}, notStored(err)
	}
	r := &request{batch: b, done: make(chan result, 1)}
	if err := s.queue.push(r); err != nil {
		return chargeingest.Receipt{}, err
	}
	select {
	case res := <-r.done:
		return res.receipt, res.err
	case <-ctx.Done():
		if s.queue.remove(r) {
			return chargeingest.Receipt{}, notStored(ctx.Err())
		}
		select {
		case res := <-r.done: // it was decided at the same moment
			return res.receipt, res.err
		default:
			return chargeingest.Receipt{}, fmt.Errorf("gave up waiting while the batch was being stored: %w", ctx.Err())
		}
	}
}

// notStored marks an error after which nothing of the batch is stored.
func notStored(cause error) error { return errors.Join(chargeingest.ErrNotStored, cause) }

// run is the writer's goroutine: it stores what waits until the queue is
// closed and empty.
func (s *Store) run() {
	defer close(s.stopped)
	for {
		jobs, group := s.queue.take(s.options.TransactionEvents)
		if len(jobs) == 0 && len(group) == 0 {
			return
		}
		for _, job := range jobs {
			job()
		}
		if len(group) > 0 {
			s.store(group)
		}
	}
}

// store stores a group of requests and answers each of them.
func (s *Store) store(group []*request) {
	results, err := s.attempt(group)
	if err != nil && len(group) > 1 && errors.Is(err, errPoison) {
		// One of them cannot be stored at all; by themselves the others can.
		for _, r := range group {
			s.store([]*request{r})
		}
		return
	}
	for i, r := range group {
		if err != nil {
			r.done <- result{err: err}
		} else {
			r.done <- results[i]
		}
	}
}

// attempt stores a group in one transaction. An error is of the whole group.
func (s *Store) attempt(group []*request) (results []result, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.writer.distrust(fmt.Errorf("panic: %v", p))
			err = errors.New("the writer panicked; the outcome is unknown")
		}
	}()
	return s.writer.transact(group)
}
