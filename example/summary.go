package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"example.com/chargeingest"
)

type summary struct {
	mu               sync.Mutex
	since            time.Time
	requests         int
	stored, replayed int         // events
	failed           map[int]int // requests by error status
}

func newSummary(now time.Time) *summary { return &summary{since: now} }

func (s *summary) add(o chargeingest.RequestStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch {
		s.stored += o.Events - o.Replayed
		s.replayed += o.Replayed
	}
	if o.Status >= 400 {
		if s.failed == nil {
			s.failed = make(map[int]int)
		}
		s.failed[o.Status]++
	}
}

func (s *summary) logEach(ctx context.Context, period time.Duration, logger *slog.Logger) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.log(logger)
		case <-ctx.Done():
			return
		}
	}
}

func (s *summary) log(logger *slog.Logger) {
	now := time.Now()
	s.mu.Lock()
	period, requests, stored, replayed, failed := now.Sub(s.since), s.requests, s.stored, s.replayed, s.failed
	s.since, s.requests, s.stored, s.replayed, s.failed = now, 0, 0, 0, nil
	s.mu.Unlock()
	if requests == 0 {
		return
	}
	var statuses []any
	for _, status := range slices.Sorted(maps.Keys(failed)) {
		statuses = append(statuses, slog.Int(strconv.Itoa(status), failed[status]))
	}
	logger.Info("summary", "period", period.Round(time.Second), "requests", requests,
		"events_stored", stored, "events_replayed", replayed, slog.Group("refused", statuses...))
}
