package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Relay delivers events to one destination.
type Relay struct {
	cfg    Config
	lister PlatformLister
	holder string

	running atomic.Bool
	ready   atomic.Bool // Start has been applied
	plan    plan
	stats   counters

	down, refused, faulty *troubles
}

// New checks the configuration. Errors name the invalid field.
func New(cfg Config) (*Relay, error) {
	lister, err := cfg.complete()
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{cfg: cfg, lister: lister, holder: rand.Text()}
	r.plan.init(cfg.Concurrency)
	r.down = newTroubles(&cfg, "the destination is down", "the destination is up again")
	r.refused = newTroubles(&cfg, "streams are refused, nothing is delivered", "no stream is refused any longer")
	r.faulty = newTroubles(&cfg, "the source or the journal fails", "the source and the journal work again")
	return r, nil
}

// Run delivers events until ctx ends and the last calls of sink and journal have returned. It
// fails if another Run of the Relay is active.
//
// Nothing is sent of a stream that was retired, or if the source does not have its position or
// the event at its position, for example because an older database was restored. Run logs the
// reason and looks again once a minute. It returns the reasons that remain, or nil.
func (r *Relay) Run(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("relay: another Run of this Relay is active")
	}
	defer r.running.Store(false)
	var background sync.WaitGroup
	defer background.Wait()
	background.Go(func() {
		if r.start(ctx) && r.lister != nil {
			r.follow(ctx)
		}
	})
	for ctx.Err() == nil {
		now := time.Now()
		wait := r.logTroubles(now)
		if s, next := r.plan.next(now); s != nil {
			background.Go(func() { r.plan.done(s, r.turn(ctx, s)) })
			continue
		} else if next > 0 {
			wait = min(wait, next)
		}
		pause(ctx, wait, r.plan.wake)
	}
	background.Wait()
	r.release(ctx)
	return r.refused.join()
}

func (r *Relay) logTroubles(now time.Time) time.Duration {
	wait := time.Minute
	for _, t := range []*troubles{r.down, r.refused, r.faulty} {
		wait = min(wait, t.log(now))
	}
	return wait
}

// Notify makes the relay look for new events of the platform at once. It never blocks.
func (r *Relay) Notify(platform string) { r.plan.notify(platform, r.lister != nil && r.ready.Load()) }

func pause(ctx context.Context, d time.Duration, signal <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-signal:
	}
}
