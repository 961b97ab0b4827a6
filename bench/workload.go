package main

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

type workload struct {
	Seed   uint64
	Stream uint64 // each process has its own
	UUID   int    // version of the references

	WarmUp, Time time.Duration
	Requests     int64   // if set, instead of WarmUp and Time
	Rate         float64 // 0 if unlimited
}

type outcome struct {
	Acknowledged tally   // includes warm-up and late responses
	Rate         float64 // events or lists per second, within Time
	Latency      latencies
}

type latencies struct{ P50, P99, P999 time.Duration }

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3)
}

func percentiles(h *hdrhistogram.Histogram) latencies {
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtQuantile(percentile)) }
	return latencies{at(50), at(99), at(99.9)}
}

type operation struct {
	started time.Time
	stored  tally
	count   int64 // events, or lists
}

type meter struct {
	workload
	begin, end time.Time // of counting

	mu      sync.Mutex
	started int64
	last    time.Time
	latency *hdrhistogram.Histogram
	counted int64
	stored  tally
}

func (w workload) newMeter(now time.Time) *meter {
	m := &meter{workload: w, begin: now, latency: newHistogram()}
	if w.Requests == 0 {
		m.begin = now.Add(w.WarmUp)
		m.end = m.begin.Add(w.Time)
	}
	return m
}

// After an error, run calls interrupt, which ends pending calls of do.
func (w workload) run(
	ctx context.Context, workers int, interrupt func(), do func(ctx context.Context, worker int) (operation, error),
) (outcome, error) {
	m := w.newMeter(time.Now())
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, interrupt)()
	for worker := range workers {
		group.Go(func() error {
			for i := worker; ctx.Err() == nil && m.next(); i += workers {
				late := m.await(i)
				op, err := do(ctx, worker)
				if err != nil {
					return err
				}
				op.started = op.started.Add(-late)
				if err := m.record(op, time.Now()); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	err := group.Wait()
	return m.outcome(), err
}

func (m *meter) next() bool {
	if m.Requests == 0 {
		return time.Now().Before(m.end)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.started++
	return m.started <= m.Requests
}

// await returns how long request i waited for its connection.
func (m *meter) await(i int) (late time.Duration) {
	if m.Rate == 0 {
		return 0
	}
	wait := time.Until(m.begin.Add(-m.WarmUp + time.Duration(float64(i)/m.Rate*float64(time.Second))))
	time.Sleep(wait)
	return max(0, -wait)
}

func (m *meter) record(op operation, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored.merge(op.stored)
	m.last = now
	if now.Before(m.begin) || !m.end.IsZero() && now.After(m.end) {
		return nil
	}
	m.counted += op.count
	return m.latency.RecordValue(int64(now.Sub(op.started)))
}

func (m *meter) outcome() outcome {
	duration := m.Time
	if m.Requests > 0 {
		duration = m.last.Sub(m.begin)
	}
	return outcome{Acknowledged: m.stored, Rate: float64(m.counted) / duration.Seconds(), Latency: percentiles(m.latency)}
}
