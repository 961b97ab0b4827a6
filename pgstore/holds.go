package pgstore

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
)

// holds are the platforms whose row another session has locked for longer than the
// writer waits. Their requests stay in the queue while the others are stored, and now
// and then the writer looks whether the lock is free. If a platform is locked for
// longer than a statement may take, its requests are refused each time. Holds belong to
// the writer's goroutine.
type holds struct {
	timeout   time.Duration // Options.StatementTimeout
	platforms map[string]*hold
	nextWait  time.Time // when the writer may wait for the lock of a held platform again
}

type hold struct {
	since  time.Time
	next   time.Time // when to look again
	pause  time.Duration
	queued bool  // requests of it are in the queue, or may come until next
	err    error // of the last try
}

// Shares of Options.StatementTimeout.
const (
	lockShare      = 5    // the wait for the lock of a platform
	heldLockShare  = 100  // the same while any platform is held
	probeLockShare = 2500 // the same to find out which platforms are locked
	waitShare      = 20   // between two waits for a held platform
	firstShare     = 10   // to find out which platforms of a group are locked

	forgetShares = 12 // statement timeouts that a hold outlives its last use
)

func (h *holds) lockWait() time.Duration {
	if len(h.platforms) > 0 {
		return max(h.timeout/heldLockShare, time.Millisecond)
	}
	return h.timeout / lockShare
}

// skips reports whether the requests of a platform are to stay in the queue at a time.
func (h *holds) skips(platform string, at time.Time) bool {
	held := h.platforms[platform]
	return held != nil && at.Before(held.next)
}

// add holds a platform, or holds it longer.
func (h *holds) add(platform string, err error) *hold {
	if h.platforms == nil {
		h.platforms = make(map[string]*hold)
	}
	now := time.Now()
	held := h.platforms[platform]
	if held == nil {
		held = &hold{since: now, pause: h.timeout / heldLockShare / 2}
		h.platforms[platform] = held
	}
	held.pause = min(2*held.pause, h.timeout/lockShare)
	held.next, held.err, held.queued = now.Add(held.pause), err, true
	return held
}

// release ends the holds of platforms whose requests were stored.
func (h *holds) release(requests []*groupcommit.Request) {
	if len(h.platforms) == 0 {
		return
	}
	for _, r := range requests {
		delete(h.platforms, r.Batch.Platform)
	}
}

// wake returns a channel that delivers when the next held platform with queued
// requests is due; nil if none is.
func (h *holds) wake() (due <-chan time.Time, stop func() bool) {
	var first *hold
	for platform, held := range h.platforms {
		switch {
		case held.queued && (first == nil || held.next.Before(first.next)):
			first = held
		case !held.queued && time.Since(held.next) > forgetShares*h.timeout:
			delete(h.platforms, platform)
		}
	}
	if first == nil {
		return nil, func() bool { return true }
	}
	timer := time.NewTimer(time.Until(first.next))
	return timer.C, timer.Stop
}

// taken notes that the queue was asked for everything that was due at a time.
func (h *holds) taken(at time.Time) {
	for _, held := range h.platforms {
		if !at.Before(held.next) {
			held.queued = false
		}
	}
}

// split returns the requests of platforms that are not held and those of the others.
func (h *holds) split(requests []*groupcommit.Request) (others, held []*groupcommit.Request) {
	if len(h.platforms) == 0 {
		return requests, nil
	}
	for _, r := range requests {
		if h.platforms[r.Batch.Platform] == nil {
			others = append(others, r)
		} else {
			held = append(held, r)
		}
	}
	return others, held
}

// separation is a search for the platforms whose lock is free.
type separation struct {
	wait  time.Duration // for each lock
	until time.Time     // when to hold the platforms that are left
}

// lockedOut holds the platforms of a group that failed for a lock, and stores the
// requests of the others.
func (w *writer) lockedOut(requests []*groupcommit.Request, err error) {
	list := byPlatform(requests)
	switch {
	case len(list) > 1 && w.separation == nil:
		w.separate(list, err, w.options.StatementTimeout/firstShare)
	case len(list) == 1 || time.Now().After(w.separation.until):
		for _, requests := range list {
			w.hold(requests, err)
		}
	default:
		until := time.Now().Add(patience * w.options.StatementTimeout)
		half := len(list) / 2
		w.store(slices.Concat(list[:half]...), until)
		w.store(slices.Concat(list[half:]...), until)
	}
}

// retry stores the requests of held platforms whose lock is free by now.
func (w *writer) retry(requests []*groupcommit.Request) {
	list := byPlatform(requests)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] }) //nolint:gosec // only for fairness
	w.separate(list, nil, w.options.StatementTimeout/heldLockShare)
}

// separate stores the requests of the platforms whose lock is free and holds the
// others. The search takes budget at most. Failure is why a platform is held that was
// not before.
func (w *writer) separate(list [][]*groupcommit.Request, failure error, budget time.Duration) {
	locked := w.findLocked(list)
	var free, waiting []*groupcommit.Request
	for _, requests := range list {
		platform := requests[0].Batch.Platform
		held := w.holds.platforms[platform]
		switch {
		case !locked[platform]: // or not there yet, and perhaps about to be inserted
			free = append(free, requests...)
		case held == nil:
			w.hold(requests, failure)
		case waiting == nil && time.Now().After(w.holds.nextWait):
			waiting = requests
		default:
			w.hold(requests, held.err)
		}
	}
	if len(free) > 0 {
		w.storeWithin(free, w.options.StatementTimeout/probeLockShare, budget)
	}
	if waiting != nil {
		// A lock that other processes queue for is never free when looked at.
		w.holds.nextWait = time.Now().Add(w.options.StatementTimeout / waitShare)
		w.storeWithin(waiting, w.options.StatementTimeout/heldLockShare, 0)
	}
}

// storeWithin is store with another wait for locks.
func (w *writer) storeWithin(requests []*groupcommit.Request, wait, budget time.Duration) {
	now := time.Now()
	w.separation = &separation{wait: max(wait, time.Millisecond), until: now.Add(budget)}
	defer func() { w.separation = nil }()
	w.store(requests, now.Add(patience*w.options.StatementTimeout))
}

// hold keeps the requests of one platform in the queue, or refuses them.
func (w *writer) hold(requests []*groupcommit.Request, err error) {
	platform := requests[0].Batch.Platform
	held := w.holds.add(platform, err)
	if time.Since(held.since) < w.options.StatementTimeout {
		w.queue.Return(requests)
		return
	}
	w.complain(err)
	for len(requests) > 0 { // and those that are still in the queue
		w.refuse(requests, err)
		requests, _ = w.queue.TakeExcept(w.options.MaxQueuedEvents, func(name string) bool { return name != platform })
	}
}

// refuse answers requests with an error.
func (w *writer) refuse(requests []*groupcommit.Request, err error) {
	w.observe(chargeingest.CommitStats{Requests: len(requests), Err: err})
	for _, r := range requests {
		r.Answer(groupcommit.Answer{Err: err})
	}
}

// findLocked returns the platforms whose row another session has locked; none if the
// server does not say.
func (w *writer) findLocked(list [][]*groupcommit.Request) map[string]bool {
	names := make([]string, len(list))
	for i, requests := range list {
		names[i] = requests[0].Batch.Platform
	}
	locked := make(map[string]bool)
	ctx, cancel := context.WithTimeout(context.Background(), w.options.StatementTimeout)
	defer cancel()
	_, err := w.within(ctx, func(t *transaction) (*group, error) {
		t.lockWait = max(w.options.StatementTimeout/probeLockShare, time.Millisecond)
		b := t.begin()
		n := b.Len()
		b.Queue(w.sql.findLocked, names).Query(func(rows pgx.Rows) error {
			var name string
			_, err := pgx.ForEachRow(rows, []any{&name}, func() error { locked[name] = true; return nil })
			return err
		})
		b.Queue(w.sql.rollback)
		return nil, t.sendAfter(ctx, b, n, false)
	})
	if err != nil {
		return nil
	}
	return locked
}
