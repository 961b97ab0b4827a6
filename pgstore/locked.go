package pgstore

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest/internal/groupcommit"
)

// lockedPlatforms have rows that other sessions have locked. Their requests stay queued between
// retries, and fail after Options.StatementTimeout.
type lockedPlatforms struct {
	timeout   time.Duration // of statements
	platforms map[string]*lockedPlatform
	nextWait  time.Time // for one of the locks
}

type lockedPlatform struct {
	since   time.Time
	retryAt time.Time
	pause   time.Duration
	queued  bool
	err     error // of the last try
}

// Divisors of Options.StatementTimeout.
const (
	lockShare       = 5    // wait for a platform
	lockedLockShare = 100  // wait for a platform while any is locked
	probeLockShare  = 2500 // wait for a platform during a search
	waitShare       = 20   // pause between two waits for locked platforms
	searchShare     = 10   // duration of a search

	forgetFactor = 12 // statement timeouts after the last use
)

func (l *lockedPlatforms) lockWait() time.Duration {
	if len(l.platforms) > 0 {
		return max(l.timeout/lockedLockShare, time.Millisecond)
	}
	return l.timeout / lockShare
}

func (l *lockedPlatforms) skips(platform string, now time.Time) bool {
	p := l.platforms[platform]
	return p != nil && now.Before(p.retryAt)
}

func (l *lockedPlatforms) add(platform string, err error) *lockedPlatform {
	if l.platforms == nil {
		l.platforms = make(map[string]*lockedPlatform)
	}
	now := time.Now()
	p := l.platforms[platform]
	if p == nil {
		p = &lockedPlatform{since: now, pause: l.timeout / lockedLockShare / 2}
		l.platforms[platform] = p
	}
	p.pause = min(2*p.pause, l.timeout/lockShare)
	p.retryAt, p.err, p.queued = now.Add(p.pause), err, true
	return p
}

func (l *lockedPlatforms) remove(stored []*groupcommit.Request) {
	if len(l.platforms) == 0 {
		return
	}
	for _, r := range stored {
		delete(l.platforms, r.Platform)
	}
}

func (l *lockedPlatforms) nextRetry() (retry <-chan time.Time, stop func() bool) {
	var first *lockedPlatform
	for platform, p := range l.platforms {
		switch {
		case p.queued && (first == nil || p.retryAt.Before(first.retryAt)):
			first = p
		case !p.queued && time.Since(p.retryAt) > forgetFactor*l.timeout:
			delete(l.platforms, platform)
		}
	}
	if first == nil {
		return nil, func() bool { return true }
	}
	timer := time.NewTimer(time.Until(first.retryAt))
	return timer.C, timer.Stop
}

func (l *lockedPlatforms) markTaken(now time.Time) {
	for _, p := range l.platforms {
		if !now.Before(p.retryAt) {
			p.queued = false
		}
	}
}

func (l *lockedPlatforms) split(group []*groupcommit.Request) (unlocked, locked []*groupcommit.Request) {
	if len(l.platforms) == 0 {
		return group, nil
	}
	for _, r := range group {
		if l.platforms[r.Platform] == nil {
			unlocked = append(unlocked, r)
		} else {
			locked = append(locked, r)
		}
	}
	return unlocked, locked
}

type lockSearch struct {
	lockWait time.Duration
	until    time.Time // then the rest counts as locked
}

func (w *writer) separateLocked(group []*groupcommit.Request, err error) {
	platforms := byPlatform(group)
	switch {
	case len(platforms) > 1 && w.lockSearch == nil:
		w.storeUnlocked(platforms, err, w.options.StatementTimeout/searchShare)
	case len(platforms) == 1 || time.Now().After(w.lockSearch.until):
		for _, requests := range platforms {
			w.postpone(requests, err)
		}
	default:
		deadline := w.groupDeadline()
		half := len(platforms) / 2
		w.store(slices.Concat(platforms[:half]...), deadline)
		w.store(slices.Concat(platforms[half:]...), deadline)
	}
}

func (w *writer) retryLocked(group []*groupcommit.Request) {
	platforms := byPlatform(group)
	rand.Shuffle(len(platforms), func(i, j int) { platforms[i], platforms[j] = platforms[j], platforms[i] }) //nolint:gosec // no secret
	w.storeUnlocked(platforms, nil, w.options.StatementTimeout/lockedLockShare)
}

// storeUnlocked stores the requests of unlocked platforms and postpones the others. It searches
// for locked platforms for about the budget.
func (w *writer) storeUnlocked(platforms [][]*groupcommit.Request, lockErr error, budget time.Duration) {
	locked := w.findLocked(platforms)
	var unlocked, waiting []*groupcommit.Request
	for _, requests := range platforms {
		platform := requests[0].Platform
		known := w.locked.platforms[platform]
		switch {
		case !locked[platform]: // another session may be inserting its row
			unlocked = append(unlocked, requests...)
		case known == nil:
			w.postpone(requests, lockErr)
		case waiting == nil && time.Now().After(w.locked.nextWait):
			waiting = requests
		default:
			w.postpone(requests, known.err)
		}
	}
	if len(unlocked) > 0 {
		w.storeWithLockWait(unlocked, w.options.StatementTimeout/probeLockShare, budget)
	}
	if waiting != nil {
		// A lock that other processes queue for never looks free.
		w.locked.nextWait = time.Now().Add(w.options.StatementTimeout / waitShare)
		w.storeWithLockWait(waiting, w.options.StatementTimeout/lockedLockShare, 0)
	}
}

func (w *writer) storeWithLockWait(group []*groupcommit.Request, lockWait, budget time.Duration) {
	w.lockSearch = &lockSearch{lockWait: max(lockWait, time.Millisecond), until: time.Now().Add(budget)}
	defer func() { w.lockSearch = nil }()
	w.store(group, w.groupDeadline())
}

// postpone requeues a platform's requests. If it was locked for StatementTimeout, they fail.
func (w *writer) postpone(requests []*groupcommit.Request, err error) {
	platform := requests[0].Platform
	if p := w.locked.add(platform, err); time.Since(p.since) < w.options.StatementTimeout {
		w.queue.Requeue(requests)
		return
	}
	w.logFailure(err)
	for len(requests) > 0 {
		queued, _ := w.queue.Take(w.options.MaxQueuedEvents, func(other string) bool { return other != platform })
		w.fail(requests, err) // after Take: callers may retry at once
		requests = queued
	}
}

// findLocked returns no platforms if the query fails.
func (w *writer) findLocked(platforms [][]*groupcommit.Request) map[string]bool {
	names := make([]string, len(platforms))
	for i, requests := range platforms {
		names[i] = requests[0].Platform
	}
	locked := make(map[string]bool)
	ctx, cancel := context.WithTimeout(context.Background(), w.options.StatementTimeout)
	defer cancel()
	_, err := w.inTransaction(ctx, func(t *transaction) (*decidedGroup, error) {
		t.lockWait = max(w.options.StatementTimeout/probeLockShare, time.Millisecond)
		b := t.begin()
		n := b.Len()
		b.Queue(w.sql.findLocked, names).Query(func(rows pgx.Rows) error {
			var name string
			_, err := pgx.ForEachRow(rows, []any{&name}, func() error { locked[name] = true; return nil })
			return err
		})
		b.Queue(w.sql.rollback)
		return nil, t.sendWithTimeouts(ctx, b, n, false)
	})
	if err != nil {
		return nil
	}
	return locked
}
