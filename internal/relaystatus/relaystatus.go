// Package relaystatus reads the status of relays for metrics.
package relaystatus

import (
	"context"
	"maps"
	"sync"
	"time"

	"example.com/chargeingest/relay"
)

const (
	maxAge      = 5 * time.Second
	maxWait     = time.Second
	readTimeout = 30 * time.Second
)

// Destination is the sum over platforms that were not retired.
type Destination struct {
	Lag           int64
	OldestPending time.Time // or zero
	Parked, Dead  int64
	Unknown       int64 // platforms whose lag is unknown
}

// Age of the oldest pending event.
func (d Destination) Age(now time.Time) time.Duration {
	if d.OldestPending.IsZero() {
		return 0
	}
	return max(0, now.Sub(d.OldestPending))
}

// Reader caches the status, because reading can be slow.
type Reader struct {
	ledger relay.Ledger

	mu      sync.Mutex
	latest  map[string]Destination
	readAt  time.Time
	started time.Time
	reading chan struct{} // closed at the end of a read
}

// NewReader returns a Reader.
func NewReader(ledger relay.Ledger) *Reader { return &Reader{ledger: ledger} }

// Read returns the last known status by destination, and its time, zero before the first. It
// takes at most a second.
func (r *Reader) Read() (destinations map[string]Destination, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading == nil && (r.started.IsZero() || time.Since(r.started) >= maxAge) {
		r.started, r.reading = time.Now(), make(chan struct{})
		go r.read(r.started, r.reading)
	}
	if done := r.reading; done != nil {
		timer := time.NewTimer(maxWait)
		defer timer.Stop()
		r.mu.Unlock()
		select {
		case <-done:
		case <-timer.C:
		}
		r.mu.Lock()
	}
	return r.latest, r.readAt
}

func (r *Reader) read(started time.Time, done chan<- struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	streams, err := r.ledger.Status(ctx, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.latest, r.readAt = sumUp(streams), started
	}
	r.reading = nil
	close(done)
}

func sumUp(streams []relay.Status) map[string]Destination {
	all := make(map[string]Destination)
	for _, s := range streams {
		if !s.RetiredAt.IsZero() {
			continue
		}
		d := all[s.Destination]
		if s.Lag < 0 {
			d.Unknown++
		}
		d.Lag += max(0, s.Lag)
		if p := s.OldestPending; !p.IsZero() && (d.OldestPending.IsZero() || p.Before(d.OldestPending)) {
			d.OldestPending = p
		}
		d.Parked += s.Parked
		d.Dead += s.Dead
		all[s.Destination] = d
	}
	return all
}

// Results returns numbers of events.
func Results(s relay.Stats) map[string]uint64 {
	return map[string]uint64{"delivered": s.Delivered, "repeated": s.Repeated, "parked": s.Parked, "dead": s.Dead}
}

// Attempts includes outcomes with zero.
func Attempts(s relay.Stats) map[string]uint64 {
	all := map[string]uint64{"delivered": 0, "repeated": 0, "deferred": 0, "rejected": 0, "unsent": 0, "failed": 0}
	maps.Copy(all, s.Attempts)
	return all
}
