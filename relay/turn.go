package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/chargeingest"
)

const (
	turnTime      = time.Second
	heldInterval  = time.Second
	maxRetryAfter = time.Hour
	maxFaultWait  = 10 * time.Second
)

type turn struct {
	*Relay
	s       *stream
	parent  context.Context // of Run
	ctx     context.Context // ends with the lease
	started time.Time

	background sync.WaitGroup
	saving     chan error // of the running Save
	ahead      chan readResult
	longest    time.Duration
	leased     bool
}

type downError struct {
	error
	retryAfter time.Duration
}

func (e *downError) Unwrap() error { return e.error }

type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

func (r *Relay) turn(ctx context.Context, s *stream) decision {
	lease, end := context.WithCancelCause(ctx)
	t := &turn{Relay: r, s: s, parent: ctx, ctx: lease, started: time.Now()}
	more, err := t.run(end)
	if saved := t.flush(); saved != nil {
		err = saved
	}
	if cause := context.Cause(lease); cause != nil && ctx.Err() == nil {
		err = cause
	}
	end(nil)
	t.background.Wait()
	t.abandon(err)
	return t.decide(more, err)
}

func (t *turn) run(end context.CancelCauseFunc) (more bool, err error) {
	var page chargeingest.Page
	if t.s.known {
		page, err = t.read(t.s.position, t.pageLimit())
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			t.s.forget() // the position may be newer than that in the journal
		case err != nil:
			return false, err
		case len(page.Events) == 0:
			t.s.position = page.Position
			if !t.mayLook() {
				return false, nil
			}
			if due, err := t.due(1); err != nil || len(due) == 0 {
				return false, err
			}
			t.s.looked = time.Time{}
		}
	}
	fresh, err := t.take()
	if err != nil {
		return false, err
	}
	t.leased = true
	t.background.Go(func() { t.renew(t.ctx, t.s, t.s.token, end) })
	if fresh {
		if err := t.check(); err != nil {
			return false, err
		}
		if page, err = t.read(t.s.position, t.pageLimit()); err != nil {
			return false, err
		}
	}
	return t.work(page)
}

func (t *turn) work(page chargeingest.Page) (more bool, err error) {
	parked := 0
	for {
		if page.Next != "" {
			t.readAhead(page.Position)
		}
		if len(page.Events) > 0 {
			if err := t.deliverPage(&page); err != nil {
				return false, err
			}
		}
		t.s.position = page.Position
		if parked == t.cfg.BatchSize || t.mayLook() {
			if parked, err = t.deliverDue(); err != nil {
				return false, err
			}
		}
		if page.Next == "" && parked < t.cfg.BatchSize {
			return false, nil
		}
		if time.Since(t.started) >= turnTime && t.plan.crowded() {
			return true, nil
		}
		if page, err = t.nextPage(page); err != nil {
			return false, err
		}
	}
}

// take makes the lease valid, and reports whether it is a new one.
func (t *turn) take() (fresh bool, err error) {
	if t.s.known && t.s.left() > 2*t.margin() {
		return false, nil
	}
	state, err := t.lease(t.ctx, t.s, t.cfg.Start.position)
	if err != nil {
		return false, err
	}
	if t.s.known && state.Token == t.s.token {
		return false, nil
	}
	t.s.known, t.s.failureKnown = true, false
	t.s.token, t.s.position, t.s.anchor = state.Token, state.Position, state.LastEventID
	return true, nil
}

func (t *turn) check() error {
	if t.s.anchor == "" {
		return nil
	}
	_, err := t.cfg.Source.Get(t.ctx, t.s.platform, t.s.anchor)
	if errors.Is(err, chargeingest.ErrNotFound) {
		return &refusedError{fmt.Errorf("the source does not have the last delivered event %s", t.s.anchor)}
	}
	return err
}

// abandon drops unsaved state after an error other than the destination's.
func (t *turn) abandon(err error) {
	var down *downError
	var refused *refusedError
	switch {
	case err == nil || errors.As(err, &down):
		return
	case errors.Is(err, ErrLeaseHeld) && !t.leased:
		t.s.until.Store(nil) // the position is not behind the last Save
		return
	case errors.As(err, &refused) && t.s.known:
		p := Progress{Token: t.s.token}
		if t.noteFailure(&p, err) {
			_ = t.save(p, 0, 0)
			_ = t.flush()
		}
	}
	// A Save without a response may still take effect. A new token makes the journal refuse it.
	ctx, cancel := t.grace()
	defer cancel()
	t.unlease(ctx, t.s)
}

func (t *turn) decide(more bool, err error) decision {
	s, now := t.s, time.Now()
	if t.parent.Err() != nil {
		return decision{idle, now}
	}
	var down *downError
	var refused *refusedError
	switch {
	case err == nil:
		return t.succeeded(more, now)
	case errors.Is(err, ErrLeaseHeld), errors.Is(err, ErrLeaseLost):
		t.down.set(s.platform, nil)
		t.faulty.set(s.platform, nil)
		return decision{busy, now.Add(heldInterval - rand.N(heldInterval/4))} //nolint:gosec // no secret
	case errors.As(err, &refused), errors.Is(err, ErrRetired):
		t.down.set(s.platform, nil)
		t.refused.set(s.platform, err)
		t.faulty.set(s.platform, nil)
		s.forget()
		return decision{idle, now.Add(logInterval)}
	case errors.As(err, &down):
		t.down.set(s.platform, err)
		t.faulty.set(s.platform, nil)
		wait := max(t.cfg.Schedule.backoff(s.failures), min(down.retryAfter, maxRetryAfter))
		s.failures++
		return decision{slow, now.Add(wait)}
	default:
		t.faulty.set(s.platform, err)
		wait := min(t.cfg.Schedule.backoff(s.failures), maxFaultWait)
		s.failures++
		return decision{slow, now.Add(wait)}
	}
}

func (t *turn) succeeded(more bool, now time.Time) decision {
	for _, troubles := range []*troubles{t.down, t.refused, t.faulty} {
		troubles.set(t.s.platform, nil)
	}
	t.s.failures = 0
	d := decision{idle, now}
	if t.longest >= slowSend {
		d.queue = slow
	} else if more {
		d.queue = busy
	}
	if !more {
		wait := t.cfg.PollInterval
		if !t.s.nextDue.IsZero() {
			wait = min(wait, max(t.s.nextDue.Sub(t.cfg.Clock()), t.s.looked.Add(t.lookInterval()).Sub(now)))
		}
		d.due = now.Add(wait)
	}
	return d
}
