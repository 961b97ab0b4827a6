package relay_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

type hostile struct {
	*memstore.Store
	*journalHooks

	w      *world
	mu     sync.Mutex
	random *rand.Rand
	calm   bool
}

var errHostile = fmt.Errorf("hostile: %w", errJournal)

func (h *hostile) one(n int) bool { return h.number(n) == 0 }

func (h *hostile) number(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calm {
		return n - 1
	}
	return h.random.IntN(n)
}

func (h *hostile) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	switch h.number(25) {
	case 0:
		return chargeingest.Page{}, errHostile
	case 1:
		if q.After != "" {
			return chargeingest.Page{}, chargeingest.ErrInvalidCursor
		}
	}
	return h.Store.List(ctx, q)
}

func (h *hostile) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if h.one(20) {
		return chargeingest.StoredEvent{}, errHostile
	}
	return h.Store.Get(ctx, platform, id)
}

func (h *hostile) Due(ctx context.Context, s relay.Stream, now time.Time, limit int) ([]relay.Entry, time.Time, error) {
	if h.one(15) {
		return nil, time.Time{}, errHostile
	}
	return h.journalHooks.Due(ctx, s, now, limit)
}

func (h *hostile) Lease(ctx context.Context, s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
	switch h.number(12) {
	case 0:
		return relay.State{}, errHostile
	case 1:
		_, _ = h.journalHooks.Lease(ctx, s, r)
		return relay.State{}, errHostile
	case 2:
		time.Sleep(time.Duration(h.number(8000)) * time.Millisecond)
	}
	return h.journalHooks.Lease(ctx, s, r)
}

func (h *hostile) Save(ctx context.Context, s relay.Stream, p relay.Progress) error {
	switch h.number(12) {
	case 0:
		return errHostile
	case 1:
		_ = h.journalHooks.Save(ctx, s, p)
		return errHostile
	case 2:
		delay := time.Duration(h.number(3000)) * time.Millisecond
		go func() {
			time.Sleep(delay)
			_ = h.journalHooks.Save(context.WithoutCancel(ctx), s, p)
		}()
		return errHostile
	}
	return h.journalHooks.Save(ctx, s, p)
}

func (h *hostile) decide(s send) ([]relay.Result, error) {
	if h.one(10) {
		time.Sleep(time.Duration(h.number(3000)) * time.Millisecond)
	}
	results := make([]relay.Result, len(s.refs))
	for i := range s.refs {
		results[i].Outcome = relay.Delivered
		switch h.number(400) {
		case 0, 1, 2, 3, 4:
			return nil, errDown
		case 5, 6, 7, 8, 9:
			return nil, &relay.BatchError{}
		case 10:
			return nil, &relay.BatchError{Permanent: true}
		case 11:
			panic("hostile")
		case 12:
			return results[:i], nil
		case 13:
			results[i].Outcome = relay.Rejected
		case 14, 15, 16, 17, 18, 19:
			results[i].Outcome = relay.Deferred
		case 20, 21, 22, 23, 24, 25:
			results[i].Outcome = relay.Unsent
		}
	}
	return results, nil
}

func (h *hostile) resolve() {
	r := relay.Resolution{
		Stream: relay.Stream{Destination: destination, Platform: "acme"},
		Action: relay.Retry, State: relay.Dead, By: "ops", At: time.Now(),
	}
	if h.one(3) {
		r.Action = relay.Skip
	}
	if h.one(2) {
		r.State = relay.Parked
	}
	_, _ = h.w.journal.Resolve(h.w.Context(), r) // the stream may not exist yet
}

func TestEverythingFails(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inWorld(t, func(w *world) {
				h := &hostile{Store: w.store, journalHooks: w.audited(), w: w, random: rand.New(rand.NewPCG(seed, 20))}
				h.test(w)
			})
		})
	}
}

func (h *hostile) test(w *world) {
	w.cfg.Source, w.cfg.Journal = h, h
	w.cfg.BatchSize, w.cfg.Concurrency = 1+h.number(8), 1+h.number(2)
	w.cfg.Schedule.Max = 10 * time.Second
	w.on(h.decide)
	total := 0
	for range 8 {
		w.add("acme", total, total+60)
		total += 60
		stops := []func() error{}
		for range 1 + h.number(2) {
			_, stop := w.run(w.cfg)
			stops = append(stops, stop)
		}
		for range 2 {
			wait(time.Duration(h.number(4000)) * time.Millisecond)
			h.resolve()
		}
		for _, stop := range stops {
			_ = stop() // may report a position that was refused
		}
	}
	h.mu.Lock()
	h.calm = true
	h.mu.Unlock()
	w.on(nil)
	w.start()
	wait(2 * time.Minute)
	entries := w.entries("acme")
	for _, ref := range refs("acme", 0, total) {
		state := entries[ref].State
		if w.times(ref) == 0 {
			require.Contains(w, []relay.EntryState{relay.Dead, relay.Skipped}, state, ref)
		}
		require.NotEqual(w, relay.Parked, state, ref)
	}
	require.Zero(w, w.status("acme").Lag)
	require.Empty(w, w.status("acme").Failure)
	require.Empty(w, w.relay.Stats().Down)
}
