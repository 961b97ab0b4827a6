package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chargeingest"
)

const (
	started = "started" // position of the marker of Start, the stream of the platform ""

	listLimit = 1000
	listShare = 50

	// absent is a reference of no event: a listing returns only its position.
	absent = "no event has this reference"
)

func (r *Relay) start(ctx context.Context) bool {
	for r.cfg.Start.now && ctx.Err() == nil {
		err := r.startNow(ctx)
		if err == nil {
			r.faulty.set("", nil)
			break
		}
		if !errors.Is(err, ErrLeaseHeld) {
			r.faulty.set("", err)
		}
		r.plan.signal()
		pause(ctx, heldInterval, nil)
	}
	for _, platform := range r.cfg.Platforms {
		r.plan.add(platform)
	}
	return ctx.Err() == nil
}

func (r *Relay) startNow(ctx context.Context) error {
	marker := &stream{}
	state, err := r.lease(ctx, marker, "")
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := grace(ctx)
		defer cancel()
		r.unlease(ctx, marker)
	}()
	if state.Position == started {
		return nil
	}
	lease, end := context.WithCancelCause(ctx)
	var background sync.WaitGroup
	defer background.Wait()
	defer end(nil)
	background.Go(func() { r.renew(lease, marker, state.Token, end) })
	if err := r.eachPlatform(lease, func(platform string) error { return r.skipToEnd(lease, platform) }); err != nil {
		return err
	}
	return r.cfg.Journal.Save(lease, r.stream(""), Progress{Token: state.Token, Position: started})
}

func (r *Relay) skipToEnd(ctx context.Context, platform string) error {
	page, err := r.cfg.Source.List(ctx, chargeingest.Query{Platform: platform, Limit: 1})
	if err != nil {
		return fmt.Errorf("reading the last event: %w", err)
	}
	if len(page.Events) == 0 {
		return nil
	}
	page, err = r.cfg.Source.List(ctx, chargeingest.Query{
		Platform: platform, Reference: absent, Order: chargeingest.Ascending, Limit: 1,
	})
	if err != nil {
		return fmt.Errorf("reading the last position: %w", err)
	}
	s := &stream{platform: platform}
	_, err = r.lease(ctx, s, page.Position)
	if errors.Is(err, ErrLeaseHeld) || errors.Is(err, ErrRetired) {
		return nil // it exists
	}
	if err == nil {
		r.unlease(ctx, s)
	}
	return err
}

func (r *Relay) eachPlatform(ctx context.Context, f func(string) error) error {
	names := r.cfg.Platforms
	for after := ""; ; {
		if r.lister != nil {
			var err error
			if names, err = r.lister.Platforms(ctx, after, listLimit); err != nil {
				return fmt.Errorf("listing platforms: %w", err)
			}
		}
		for _, platform := range names {
			if err := f(platform); err != nil {
				return err
			}
		}
		if r.lister == nil || len(names) < listLimit {
			return nil
		}
		after = names[len(names)-1]
	}
}

func (r *Relay) follow(ctx context.Context) {
	for ctx.Err() == nil {
		start := time.Now()
		err := r.eachPlatform(ctx, func(platform string) error {
			r.plan.add(platform)
			return nil
		})
		if ctx.Err() == nil {
			r.faulty.set("", err)
		}
		r.plan.signal()
		pause(ctx, max(r.cfg.PollInterval, listShare*time.Since(start)), nil)
	}
}

func (r *Relay) release(ctx context.Context) {
	ctx, cancel := grace(ctx)
	defer cancel()
	slots := make(chan struct{}, r.cfg.Concurrency)
	var releases sync.WaitGroup
	for _, s := range r.plan.all() {
		if s.left() <= 0 {
			continue
		}
		slots <- struct{}{}
		releases.Go(func() {
			r.unlease(ctx, s)
			<-slots
		})
	}
	releases.Wait()
}
