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

// summary counts the requests between two lines of the log.
type summary struct {
	mu               sync.Mutex
	since            time.Time
	requests         int
	stored, replayed int         // events
	refused          map[int]int // requests, by status
}

func newSummary(now time.Time) *summary { return &summary{since: now} }

// add counts a request.
func (s *summary) add(o chargeingest.RequestStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch {
		s.stored += o.Events - o.Replayed
		s.replayed += o.Replayed
	}
	if o.Status >= 400 {
		if s.refused == nil {
			s.refused = make(map[int]int)
		}
		s.refused[o.Status]++
	}
}

// logEach logs once per period, until ctx ends.
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

// log logs the requests since the last time, if any.
func (s *summary) log(logger *slog.Logger) {
	now := time.Now()
	s.mu.Lock()
	period, requests, stored, replayed, refused := now.Sub(s.since), s.requests, s.stored, s.replayed, s.refused
	s.since, s.requests, s.stored, s.replayed, s.refused = now, 0, 0, 0, nil
	s.mu.Unlock()
	if requests == 0 {
		return
	}
	var statuses []any
	for _, status := range slices.Sorted(maps.Keys(refused)) {
		statuses = append(statuses, slog.Int(strconv.Itoa(status), refused[status]))
	}
	logger.Info("summary", "period", period.Round(time.Second), "requests", requests,
		"events_stored", stored, "events_replayed", replayed, slog.Group("refused", statuses...))
}
