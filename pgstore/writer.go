package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/eventid"
	"example.com/chargeingest/internal/queue"
	"example.com/chargeingest/internal/trace"
)

// writer is the one goroutine of a process that stores.
type writer struct {
	options Options
	pool    *pgxpool.Pool
	sql     *statements
	reset   func() // of the pool
	ids     *eventid.Generator
	queue   *queue.Queue
	stopped chan struct{} // closed when the goroutine has ended

	// expectKnown says that the last group had something that was stored
	// before: then the next one is looked up first. It belongs to the goroutine.
	expectKnown bool

	// most is how many events a group may have: fewer than the options say for as
	// long as the server is too slow for these. It belongs to the goroutine, too.
	most int

	// complained is when it was last told that something is not stored, failing that it
	// was for the server, and nothing was since. They belong to the goroutine, too.
	complained time.Time
	failing    bool

	mu      sync.Mutex
	commits uint64
	last    chargeingest.Commit
}

func newWriter(s *Store, newestID string) (*writer, error) {
	ids, err := eventid.NewGenerator(s.options.Entropy, newestID)
	if err != nil {
		return nil, err
	}
	return &writer{
		options: s.options, pool: s.pool, sql: s.sql, reset: s.reset, ids: ids,
		queue: queue.New(s.options.QueueEvents), stopped: make(chan struct{}), most: s.options.MaxTransactionEvents,
	}, nil
}

// run stores what is queued until the queue is closed and empty.
func (w *writer) run() {
	defer close(w.stopped)
	for open := true; open; {
		<-w.queue.Ready()
		var requests []*queue.Request
		w.queue.Gather(w.most)
		requests, open = w.queue.Take(w.most)
		if len(requests) > 0 {
			w.store(requests, time.Now().Add(patience*w.options.StatementTimeout))
		}
	}
}

// patience is how many times the time-out of a statement a group may take, with
// all that it is taken apart into.
const patience = 3

// store stores requests in one transaction and answers them. Until a time a group
// that fails is taken apart: for the sake of those who are not to blame.
func (w *writer) store(requests []*queue.Request, until time.Time) {
	start := time.Now()
	g, err := w.attempts(requests)
	w.adapt(requests, err)
	if err != nil && start.Before(until) {
		if smaller := parts(requests, err); len(smaller) > 1 {
			for _, part := range smaller {
				if time.Now().Before(until) {
					w.store(part, until)
					continue
				}
				for _, r := range part {
					r.Answer(queue.Answer{Err: err})
				}
			}
			return
		}
	}
	done := chargeingest.Commit{Requests: len(requests), Duration: time.Since(start), Err: err}
	if err == nil {
		w.queue.Return(requests[len(g.answers):])
		requests = requests[:len(g.answers)]
		done.Requests, done.Events = len(requests), g.rows.len()
		w.expectKnown = g.known
	}
	if done.Events > 0 || err != nil {
		w.observe(done)
	}
	for i, r := range requests {
		if err != nil {
			r.Answer(queue.Answer{Err: err})
		} else {
			r.Answer(g.answers[i])
		}
	}
}

// adapt halves the size of groups when one is too slow, and lets it grow again
// while they are not.
func (w *writer) adapt(requests []*queue.Request, err error) {
	events := 0
	for _, r := range requests {
		events += len(r.Batch.Events)
	}
	switch {
	case codeOf(err) == codeQueryCanceled:
		w.most = max(1, min(w.most, events)/2)
	case err == nil && events >= w.most:
		w.most = min(w.options.MaxTransactionEvents, w.most+w.most/4+1)
	}
}

// parts are what a group that failed is taken apart into; one or none where it
// is to stay as it is.
func parts(requests []*queue.Request, err error) [][]*queue.Request {
	half := len(requests) / 2
	halves := [][]*queue.Request{requests[:half], requests[half:]}
	code := codeOf(err)
	switch {
	case half == 0 || isUnknown(err):
		return nil
	case isOfAnEvent(err):
		return halves // one of them is to blame
	case code == codeLockNotAvailable, isTransient(err):
		return byPlatform(requests) // somebody else has the lock of one of them
	case code == codeQueryCanceled:
		return halves // it is too large for the server's speed of today
	}
	return nil
}

func byPlatform(requests []*queue.Request) [][]*queue.Request {
	at := make(map[string]int)
	var list [][]*queue.Request
	for _, r := range requests {
		i, ok := at[r.Batch.Platform]
		if !ok {
			i = len(list)
			at[r.Batch.Platform], list = i, append(list, nil)
		}
		list[i] = append(list[i], r)
	}
	return list
}

// maxConnections is how many connections a transaction is tried on.
const maxConnections = 5

// attempts stores requests, again where the server undid it for the sake of another
// transaction, for as long as a statement may take. Its error is an ErrNotStored unless
// it is not known what became of them.
func (w *writer) attempts(requests []*queue.Request) (*group, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience*w.options.StatementTimeout)
	defer cancel()
	trying, cancel := context.WithTimeout(ctx, w.options.StatementTimeout)
	defer cancel()
	for n := 1; ; n++ {
		g, err := w.attempt(ctx, requests)
		switch {
		case err == nil:
			if w.failing {
				w.failing = false
				w.options.Logger.Info("pgstore: transactions are stored again")
			}
			return g, nil
		case isUnknown(err):
			w.options.Logger.Error("pgstore: it is not known what became of a transaction", "error", err)
			return nil, fmt.Errorf("pgstore: %w", err)
		case isDuplicate(err) && !w.expectKnown:
			w.expectKnown = true
		case isOfTheServer(err) && n < maxConnections && pause(ctx, n):
			// A new connection may lead to one that works.
		case isTransient(err) && pause(trying, n):
		default:
			w.complain(err)
			return nil, fmt.Errorf("pgstore: %w: %w", chargeingest.ErrNotStored, err)
		}
	}
}

// pause waits before a transaction is tried again, longer each time, and not the
// same time as others who wait for the same. It says whether there is time for that.
func pause(ctx context.Context, n int) bool {
	select {
	case <-time.After(rand.N(time.Millisecond << min(n, 6))): //nolint:gosec // nobody gains by knowing it
		return true
	case <-ctx.Done():
		return false
	}
}

// complain tells of a transaction that was not stored. What an event causes is its
// sender's affair; while the database is away once a second is enough.
func (w *writer) complain(err error) {
	const told = "pgstore: a transaction was not stored"
	if isOfAnEvent(err) {
		w.options.Logger.Warn(told, "error", err)
		return
	}
	if now := time.Now(); now.Sub(w.complained) >= time.Second {
		w.complained = now
		w.failing = w.failing || codeOf(err) == "" || isOfTheServer(err) // not one platform alone
		w.options.Logger.Error(told, "error", err)
	}
}

// attempt stores requests in one transaction. A panic, most likely one of the
// host's source of entropy, is an error of which nothing is stored.
func (w *writer) attempt(ctx context.Context, requests []*queue.Request) (g *group, err error) {
	pooled, err := acquire(ctx, w.pool, w.options.AcquireTimeout)
	if err != nil {
		return nil, err
	}
	defer func() {
		if isUnknown(err) || isOfTheServer(err) {
			w.reset()
		}
		if failure := release(pooled); failure != nil {
			err = unknownError{failure} // all may be committed
		}
	}()
	t := &transaction{conn: pooled.Conn(), sql: w.sql, timeout: w.options.StatementTimeout, durable: !w.options.AllowNotDurable}
	defer trace.RecoverTo(&err)
	if w.expectKnown {
		return t.careful(ctx, requests, w.ids.Next)
	}
	return t.fast(ctx, requests, w.ids.Next)
}

// observe tells of a transaction. What it did is done, so that a panic of the
// observer is only logged.
func (w *writer) observe(c chargeingest.Commit) {
	w.mu.Lock()
	if c.Err == nil {
		w.commits++
	}
	w.last = c
	w.mu.Unlock()
	if w.options.Observer == nil {
		return
	}
	var err error
	func() {
		defer trace.RecoverTo(&err)
		w.options.Observer(c)
	}()
	if err != nil {
		w.options.Logger.Error("pgstore: the observer failed", "error", err)
	}
}

// report is what Stats returns.
func (w *writer) report() chargeingest.StoreStats {
	var now chargeingest.StoreStats
	now.QueuedRequests, now.QueuedEvents = w.queue.Depth()
	w.mu.Lock()
	defer w.mu.Unlock()
	now.Commits, now.LastCommit = w.commits, w.last
	return now
}

// isUnknown says that a transaction may have been committed.
func isUnknown(err error) bool { return errors.As(err, new(unknownError)) }

// unknownError says that a transaction may have been committed.
type unknownError struct{ error }

func (e unknownError) Unwrap() error { return e.error }
