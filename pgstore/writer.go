package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// writer is the one goroutine of a process that stores.
type writer struct {
	options Options
	sql     *statements
	reset   func() // of the pool
	ids     *storekit.IDGenerator
	queue   *groupcommit.Queue
	stopped chan struct{} // closed when the goroutine has ended

	// These belong to the goroutine. Separation is nil unless the writer finds out
	// which platforms are locked.
	session    session
	holds      holds
	separation *separation

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
	last    chargeingest.CommitStats
}

func newWriter(s *Store, newestID string) (*writer, error) {
	ids, err := storekit.NewIDGenerator(s.options.Entropy, newestID)
	if err != nil {
		return nil, err
	}
	return &writer{
		options: s.options, sql: s.sql, reset: s.reset, ids: ids,
		queue: groupcommit.New(s.options.MaxQueuedEvents), stopped: make(chan struct{}), most: s.options.MaxTransactionEvents,
		session: session{pool: s.pool, logger: s.options.Logger}, holds: holds{timeout: s.options.StatementTimeout},
	}, nil
}

// run stores what is queued until the queue is closed and empty.
func (w *writer) run() {
	defer close(w.stopped)
	defer w.session.close()
	for open := true; open; {
		due, stop := w.holds.wake()
		select {
		case <-w.queue.Ready():
		case <-due:
		}
		stop()
		w.queue.Gather(w.most)
		var requests []*groupcommit.Request
		now := time.Now()
		requests, open = w.queue.TakeExcept(w.most, func(platform string) bool { return w.holds.skips(platform, now) })
		w.holds.taken(now)
		w.storeTaken(requests)
	}
}

// storeTaken stores requests that were taken from the queue. A panic, which can only
// be one of this package, leaves none of them without an answer.
func (w *writer) storeTaken(requests []*groupcommit.Request) {
	var err error
	func() {
		defer panics.RecoverTo(&err)
		others, held := w.holds.split(requests)
		if len(others) > 0 {
			w.store(others, time.Now().Add(patience*w.options.StatementTimeout))
		}
		if len(held) > 0 {
			w.retry(held)
		}
	}()
	if err == nil {
		return
	}
	w.session.drop()
	log(w.options.Logger, slog.LevelError, "pgstore: it is not known what became of a transaction", err)
	for _, r := range requests {
		r.Answer(groupcommit.Answer{Err: fmt.Errorf("pgstore: %w", unknownError{err})})
	}
}

// patience is how many times the time-out of a statement a group may take, with
// all that it is taken apart into.
const patience = 3

// store stores requests in one transaction and answers them. Until a time a group
// that fails is taken apart: for the sake of those who are not to blame.
func (w *writer) store(requests []*groupcommit.Request, until time.Time) {
	start := time.Now()
	g, err := w.attempts(requests)
	w.adapt(requests, err)
	if codeOf(err) == codeLockNotAvailable {
		w.lockedOut(requests, err)
		return
	}
	if err != nil && start.Before(until) {
		if smaller := parts(requests, err); len(smaller) > 1 {
			for _, part := range smaller {
				if time.Now().Before(until) {
					w.store(part, until)
					continue
				}
				w.refuse(part, err)
			}
			return
		}
	}
	done := chargeingest.CommitStats{Requests: len(requests), Duration: time.Since(start), Err: err}
	if err == nil {
		w.queue.Return(requests[len(g.answers):])
		requests = requests[:len(g.answers)]
		done.Requests, done.Events = len(requests), g.rows.len()
		w.expectKnown = g.known
		w.holds.release(requests)
	}
	if done.Events > 0 || err != nil {
		w.observe(done)
	}
	for i, r := range requests {
		if err != nil {
			r.Answer(groupcommit.Answer{Err: err})
		} else {
			r.Answer(g.answers[i])
		}
	}
}

// adapt halves the size of groups when one is too slow, and lets it grow again
// while they are not.
func (w *writer) adapt(requests []*groupcommit.Request, err error) {
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
func parts(requests []*groupcommit.Request, err error) [][]*groupcommit.Request {
	half := len(requests) / 2
	halves := [][]*groupcommit.Request{requests[:half], requests[half:]}
	code := codeOf(err)
	switch {
	case half == 0 || isUnknown(err):
		return nil
	case isOfAnEvent(err):
		return halves // one of them is to blame
	case isTransient(err):
		return byPlatform(requests) // somebody else has the lock of one of them
	case code == codeQueryCanceled:
		return halves // it is too large for the server's speed of today
	}
	return nil
}

func byPlatform(requests []*groupcommit.Request) [][]*groupcommit.Request {
	at := make(map[string]int)
	var list [][]*groupcommit.Request
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

const (
	// maxConnections is how many connections a transaction is tried on.
	maxConnections = 5

	// maxReplans is how often a transaction is tried again because a plan is of tables
	// that have changed: each of its statements can have one, and pgx forgets the plans
	// of one failure at a time.
	maxReplans = 3
)

// attempts stores requests, again where the server undid it for the sake of another
// transaction, for as long as a statement may take. Its error is an ErrNotStored unless
// it is not known what became of them.
func (w *writer) attempts(requests []*groupcommit.Request) (*group, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience*w.options.StatementTimeout)
	defer cancel()
	trying, cancel := context.WithTimeout(ctx, w.options.StatementTimeout)
	defer cancel()
	replans := 0
	for n := 1; ; n++ {
		g, err := w.attempt(ctx, requests)
		switch {
		case err == nil:
			if w.failing {
				w.failing = false
				log(w.options.Logger, slog.LevelInfo, "pgstore: transactions are stored again", nil)
			}
			return g, nil
		case isUnknown(err):
			log(w.options.Logger, slog.LevelError, "pgstore: it is not known what became of a transaction", err)
			return nil, fmt.Errorf("pgstore: %w", err)
		case isDuplicate(err) && !w.expectKnown:
			w.expectKnown = true
		case codeOf(err) == codeNotSupported && replans < maxReplans:
			replans++
		case isOfTheServer(err) && n < maxConnections && pause(ctx, n):
			// A new connection may lead to one that works.
		case isTransient(err) && pause(trying, n):
		default:
			if codeOf(err) != codeLockNotAvailable {
				w.complain(err)
			}
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
		log(w.options.Logger, slog.LevelWarn, told, err)
		return
	}
	if now := time.Now(); now.Sub(w.complained) >= time.Second {
		w.complained = now
		w.failing = w.failing || codeOf(err) == "" || isOfTheServer(err) // not one platform alone
		log(w.options.Logger, slog.LevelError, told, err)
	}
}

// attempt stores requests in one transaction.
func (w *writer) attempt(ctx context.Context, requests []*groupcommit.Request) (*group, error) {
	return w.within(ctx, func(t *transaction) (*group, error) {
		if w.expectKnown {
			return t.careful(ctx, requests, w.ids.Next)
		}
		return t.fast(ctx, requests, w.ids.Next)
	})
}

// within calls f with a transaction that is to begin. A panic, most likely one of the
// host's source of entropy, is an error of which nothing is stored: send knows of the
// ones that may be.
func (w *writer) within(ctx context.Context, f func(*transaction) (*group, error)) (g *group, err error) {
	conn, err := w.session.get(ctx, w.options.AcquireTimeout)
	if err != nil {
		return nil, err
	}
	t := &transaction{
		conn: conn, session: &w.session, sql: w.sql, timeout: w.options.StatementTimeout, lockWait: w.holds.lockWait(),
		durable: !w.options.AllowNonDurable,
	}
	if w.separation != nil {
		t.lockWait = w.separation.wait
	}
	defer func() {
		switch {
		case isUnknown(err), errors.As(err, new(panics.Error)):
			w.session.drop()
		case isOfTheServer(err):
			w.session.leave()
		}
		if isUnknown(err) || isOfTheServer(err) {
			w.reset()
		}
	}()
	defer panics.RecoverTo(&err)
	return f(t)
}

// observe tells of a transaction. What it did is done, so that a panic of the
// observer is only logged.
func (w *writer) observe(c chargeingest.CommitStats) {
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
		defer panics.RecoverTo(&err)
		w.options.Observer(c)
	}()
	if err != nil {
		log(w.options.Logger, slog.LevelError, "pgstore: the observer failed", err)
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

func (e unknownError) Unwrap() []error { return []error{chargeingest.ErrOutcomeUnknown, e.error} }
