package relay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

type stream struct {
	platform string

	// Of plan.
	decision
	index    int
	running  bool
	notified bool
	ended    time.Time

	// Of the current turn.
	known    bool // token, position and anchor are the journal's, or newer
	token    int64
	position string
	anchor   string
	until    atomic.Pointer[time.Time] // of the lease, by the monotonic clock; nil without one

	nextDue time.Time // of a parked entry, zero without any
	looked  time.Time

	failures int  // in a row
	tries    int  // of single events since the destination was up
	probing  bool // the destination is down, or rejects single events

	failure      string
	failureKnown bool
	failureAt    time.Time
}

func (s *stream) forget() {
	s.known, s.looked, s.nextDue = false, time.Time{}, time.Time{}
	s.until.Store(nil)
}

func (s *stream) left() time.Duration {
	until := s.until.Load()
	if until == nil {
		return 0
	}
	return time.Until(*until)
}

func (r *Relay) stream(platform string) Stream {
	return Stream{Destination: r.cfg.Name, Platform: platform}
}

func (r *Relay) lease(ctx context.Context, s *stream, position string) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.LeaseTime/3)
	defer cancel()
	until := time.Now().Add(r.cfg.LeaseTime)
	state, err := r.cfg.Journal.Lease(ctx, r.stream(s.platform),
		LeaseRequest{Holder: r.holder, TTL: r.cfg.LeaseTime, Position: position})
	if err == nil {
		s.until.Store(&until)
	}
	return state, err
}

func (r *Relay) unlease(ctx context.Context, s *stream) {
	if s.left() > 0 {
		ctx, cancel := context.WithTimeout(ctx, r.cfg.LeaseTime/3)
		defer cancel()
		_, _ = r.cfg.Journal.Lease(ctx, r.stream(s.platform), LeaseRequest{Holder: r.holder})
	}
	s.forget()
}

// margin is what a lease must have left for another Send.
func (r *Relay) margin() time.Duration { return r.cfg.LeaseTime / 6 }

// renew extends the lease until ctx ends. If the lease is lost, it ends ctx.
func (r *Relay) renew(ctx context.Context, s *stream, token int64, end context.CancelCauseFunc) {
	third := r.cfg.LeaseTime / 3
	wait := s.left() - 2*third
	for {
		pause(ctx, max(0, wait), nil)
		if ctx.Err() != nil {
			return
		}
		state, err := r.lease(ctx, s, "")
		switch {
		case err == nil && state.Token == token:
			wait = third
		case err == nil:
			end(ErrLeaseLost)
			return
		case errors.Is(err, ErrLeaseHeld) || errors.Is(err, ErrRetired) || s.left() <= 0:
			end(fmt.Errorf("%w: %w", ErrLeaseLost, err))
			return
		default:
			wait = third / 4
		}
	}
}

func (c Schedule) backoff(n int) time.Duration {
	wait := c.Max
	if n < 62 && c.Min <= c.Max>>n {
		wait = c.Min << n
	}
	return wait - rand.N(wait/2+1) //nolint:gosec // no secret
}
