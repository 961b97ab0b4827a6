package main

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	"example.com/chargeingest"
)

const (
	pruneInterval = 10 * time.Minute

	minRetain = time.Hour
	maxRetain = 36500 * 24 * time.Hour

	// maxIdleGap is how far beyond the newest event the clock is trusted at the start.
	maxIdleGap = 24 * time.Hour
)

var age = regexp.MustCompile(`^([0-9]{1,6})([dh])$`)

func retainAge(dst *time.Duration) func(string) error {
	return func(value string) error {
		if m := age.FindStringSubmatch(value); m != nil {
			n, _ := strconv.Atoi(m[1])
			*dst = time.Duration(n) * time.Hour
			if m[2] == "d" {
				*dst *= 24
			}
		}
		if *dst < minRetain || *dst > maxRetain {
			return fmt.Errorf("must be a number of days or hours such as 400d or 36h, from 1h to 36500d, not %q", value)
		}
		return nil
	}
}

type prunedStore interface {
	chargeingest.StatsReporter
	Prune(ctx context.Context, before time.Time) (deleted int64, err error)
}

// retention has its own time, since a wrong clock must not delete young events: it begins at
// most maxIdleGap after the newest event, advances with the monotonic clock, and is never
// ahead of the wall clock.
type retention struct {
	store   prunedStore
	keep    time.Duration
	observe func(deleted int64, err error)
	logger  *slog.Logger
	wall    func() time.Time

	started, base time.Time // base is the retention's time at started
	lagging       bool
}

// retain deletes old events until ctx ends or stop is called.
func retain(ctx context.Context, keep time.Duration, s store, m *metrics, logger *slog.Logger) (stop func()) {
	events, ok := s.(prunedStore)
	if keep == 0 || !ok {
		return func() {}
	}
	r := &retention{store: events, keep: keep, observe: m.ObservePrune, logger: logger, wall: func() time.Time { return time.Now().Round(0) }}
	r.start() // before the first request
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx)
	}()
	return func() { cancel(); <-done }
}

func (r *retention) start() {
	r.started, r.base = time.Now(), r.wall()
	newest := r.store.Stats().NewestEvent
	switch gap := r.base.Sub(newest); {
	case newest.IsZero():
	case gap > maxIdleGap:
		r.base = newest.Add(maxIdleGap)
	case gap < -time.Hour:
		r.logger.Warn("the clock is behind the newest event; -retain deletes events by their time of receipt, "+
			"so events that are stored with a wrong clock can be deleted too early", "clock", r.base, "newest event", newest)
	}
}

func (r *retention) run(ctx context.Context) {
	ticker := time.NewTicker(pruneInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		r.prune(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (r *retention) now() time.Time {
	now, wall := r.base.Add(time.Since(r.started)), r.wall()
	if wall.Before(now) {
		now = wall
	}
	lagging := wall.Sub(now) > time.Hour
	if lagging && !r.lagging {
		r.logger.Warn("-retain does not trust the clock, which is ahead of the newest event or was set forward; "+
			"until a restart, events are kept longer", "clock", wall, "time of -retain", now)
	}
	r.lagging = lagging
	return now
}

func (r *retention) prune(ctx context.Context) {
	before, start := r.now().Add(-r.keep), time.Now()
	deleted, err := r.store.Prune(ctx, before)
	if ctx.Err() != nil {
		err = nil // the shutdown ended it
	}
	r.observe(deleted, err)
	if deleted > 0 {
		r.logger.Info("old events were deleted", "events", deleted, "received before", before, "duration", time.Since(start))
	}
	if err != nil {
		r.logger.Error("old events could not be deleted; the next attempt follows", "in", pruneInterval, "error", err)
	}
}
