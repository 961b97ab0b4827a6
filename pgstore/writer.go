package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

type writer struct {
	options   Options
	sql       *statements
	resetPool func()
	ids       *storekit.IDGenerator
	queue     *groupcommit.Queue
	stopped   chan struct{} // closed when the goroutine has ended

	// For the goroutine only:

	session    session
	locked     lockedPlatforms
	lockSearch *lockSearch

	lookupFirst bool // since the last group had duplicates
	maxEvents   int  // reduced while the server is slow

	failureLogged time.Time
	failing       bool // since an error of the server
}

func newWriter(s *Store, newestID string) (*writer, error) {
	ids, err := storekit.NewIDGenerator(s.options.Entropy, newestID)
	if err != nil {
		return nil, err
	}
	logger := s.options.Logger
	return &writer{
		options: s.options, sql: s.sql, resetPool: s.resetPool, ids: ids,
		queue: groupcommit.New(s.options.MaxQueuedEvents, s.options.Observer, func(err error) {
			log(logger, slog.LevelError, "pgstore: the observer failed", err)
		}),
		stopped: make(chan struct{}), maxEvents: s.options.MaxTransactionEvents,
		session: session{pool: s.pool, logger: logger}, locked: lockedPlatforms{timeout: s.options.StatementTimeout},
	}, nil
}

// run returns when the queue is closed and empty.
func (w *writer) run() {
	defer close(w.stopped)
	defer w.session.close()
	for open := true; open; {
		retry, stop := w.locked.nextRetry()
		select {
		case <-w.queue.Ready():
		case <-retry:
		}
		stop()
		now := time.Now()
		var group []*groupcommit.Request
		group, open = w.queue.Take(w.maxEvents, func(platform string) bool { return w.locked.skips(platform, now) })
		w.locked.markTaken(now)
		w.storeTaken(group)
	}
}

const groupTimeoutFactor = 3

func (w *writer) groupDeadline() time.Time {
	return time.Now().Add(groupTimeoutFactor * w.options.StatementTimeout)
}

// storeTaken gives each request a result, even after a panic.
func (w *writer) storeTaken(group []*groupcommit.Request) {
	var err error
	func() {
		defer panics.RecoverTo(&err)
		unlocked, locked := w.locked.split(group)
		if len(unlocked) > 0 {
			w.store(unlocked, w.groupDeadline())
		}
		if len(locked) > 0 {
			w.retryLocked(locked)
		}
	}()
	if err != nil {
		w.session.drop()
		w.logUnknown(err)
		finish(group, fmt.Errorf("pgstore: %w", groupcommit.OutcomeUnknown(err)))
	}
}

func finish(group []*groupcommit.Request, err error) {
	for _, r := range group {
		r.Finish(groupcommit.Result{Err: err})
	}
}

// store stores a group in one transaction. If that fails early, it splits the group, so that no
// request fails because of another.
func (w *writer) store(group []*groupcommit.Request, deadline time.Time) {
	start := time.Now()
	g, err := w.storeWithRetries(group)
	w.adaptMaxEvents(group, err)
	if codeOf(err) == codeLockNotAvailable {
		w.separateLocked(group, err)
		return
	}
	if err != nil && start.Before(deadline) {
		if parts := splitFailed(group, err); len(parts) > 1 {
			for _, part := range parts {
				if time.Now().Before(deadline) {
					w.store(part, deadline)
					continue
				}
				w.fail(part, err)
			}
			return
		}
	}
	commit := chargeingest.CommitStats{Requests: len(group), Duration: time.Since(start), Err: err}
	if err != nil {
		w.queue.Observe(commit)
		finish(group, err)
		return
	}
	w.queue.Requeue(group[len(g.results):])
	group = group[:len(g.results)]
	commit.Requests, commit.Events = len(group), g.events.len()
	w.lookupFirst = g.duplicates
	w.locked.remove(group)
	if commit.Events > 0 {
		w.queue.Observe(commit)
	}
	for i, r := range group {
		r.Finish(g.results[i])
	}
}

func (w *writer) fail(group []*groupcommit.Request, err error) {
	w.queue.Observe(chargeingest.CommitStats{Requests: len(group), Err: err})
	finish(group, err)
}

func (w *writer) adaptMaxEvents(group []*groupcommit.Request, err error) {
	events := 0
	for _, r := range group {
		events += len(r.Events)
	}
	switch {
	case codeOf(err) == codeQueryCanceled:
		w.maxEvents = max(1, min(w.maxEvents, events)/2)
	case err == nil && events >= w.maxEvents:
		w.maxEvents = min(w.options.MaxTransactionEvents, w.maxEvents+w.maxEvents/4+1)
	}
}

// splitFailed returns nil if the parts would fail, too.
func splitFailed(group []*groupcommit.Request, err error) [][]*groupcommit.Request {
	half := len(group) / 2
	halves := [][]*groupcommit.Request{group[:half], group[half:]}
	switch {
	case half == 0 || isUnknown(err):
		return nil
	case isEventError(err):
		return halves
	case isTransient(err): // in one of the platforms
		return byPlatform(group)
	case codeOf(err) == codeQueryCanceled: // too slow
		return halves
	}
	return nil
}

func byPlatform(group []*groupcommit.Request) [][]*groupcommit.Request {
	index := make(map[string]int)
	var parts [][]*groupcommit.Request
	for _, r := range group {
		i, ok := index[r.Platform]
		if !ok {
			i = len(parts)
			index[r.Platform], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], r)
	}
	return parts
}

const (
	maxConnectAttempts = 5

	// pgx forgets one outdated plan per failure.
	maxReplans = 3
)

// storeWithRetries fails with ErrNotStored or ErrOutcomeUnknown.
func (w *writer) storeWithRetries(group []*groupcommit.Request) (*decidedGroup, error) {
	ctx, cancel := context.WithDeadline(context.Background(), w.groupDeadline())
	defer cancel()
	retryCtx, cancel := context.WithTimeout(ctx, w.options.StatementTimeout)
	defer cancel()
	replans := 0
	for n := 1; ; n++ {
		g, err := w.storeOnce(ctx, group)
		switch {
		case err == nil:
			if w.failing {
				w.failing = false
				log(w.options.Logger, slog.LevelInfo, "pgstore: transactions succeed again", nil)
			}
			return g, nil
		case isUnknown(err):
			w.logUnknown(err)
			return nil, fmt.Errorf("pgstore: %w", err)
		case isUniqueViolation(err) && !w.lookupFirst:
			w.lookupFirst = true
		case codeOf(err) == codeNotSupported && replans < maxReplans:
			replans++
		case mayReconnect(err) && n < maxConnectAttempts && pause(ctx, n):
			// It may lead to another server.
		case isTransient(err) && pause(retryCtx, n):
		default:
			if codeOf(err) != codeLockNotAvailable {
				w.logFailure(err)
			}
			return nil, fmt.Errorf("pgstore: %w: %w", chargeingest.ErrNotStored, err)
		}
	}
}

func (w *writer) logUnknown(err error) {
	log(w.options.Logger, slog.LevelError, "pgstore: the outcome of a transaction is unknown", err)
}

// logFailure logs all failures due to an event, and one other per second.
func (w *writer) logFailure(err error) {
	const message = "pgstore: a transaction was not stored"
	if isEventError(err) {
		log(w.options.Logger, slog.LevelWarn, message, err)
		return
	}
	if now := time.Now(); now.Sub(w.failureLogged) >= time.Second {
		w.failureLogged = now
		w.failing = w.failing || codeOf(err) == "" || mayReconnect(err)
		log(w.options.Logger, slog.LevelError, message, err)
	}
}

func (w *writer) storeOnce(ctx context.Context, group []*groupcommit.Request) (*decidedGroup, error) {
	return w.inTransaction(ctx, func(t *transaction) (*decidedGroup, error) {
		if w.lookupFirst {
			return t.storeAfterLookup(ctx, group, w.ids.Next)
		}
		return t.storeOptimistically(ctx, group, w.ids.Next)
	})
}

// If f panics, nothing was committed: transaction.send recovers from panics of a commit.
func (w *writer) inTransaction(ctx context.Context, f func(*transaction) (*decidedGroup, error)) (g *decidedGroup, err error) {
	conn, err := w.session.get(ctx, w.options.AcquireTimeout)
	if err != nil {
		return nil, err
	}
	t := &transaction{
		conn: conn, session: &w.session, sql: w.sql, timeout: w.options.StatementTimeout, lockWait: w.locked.lockWait(),
		forceDurable: !w.options.AllowNonDurable,
	}
	if w.lockSearch != nil {
		t.lockWait = w.lockSearch.lockWait
	}
	defer func() {
		switch {
		case isUnknown(err), errors.As(err, new(panics.Error)):
			w.session.drop()
		case mayReconnect(err):
			w.session.dropUnlessNew()
		}
		if isUnknown(err) || mayReconnect(err) {
			w.resetPool()
		}
	}()
	defer panics.RecoverTo(&err)
	return f(t)
}
