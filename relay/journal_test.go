package relay_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

type journalHooks struct {
	relay.Journal
	lease func(call func() (relay.State, error), s relay.Stream, r relay.LeaseRequest) (relay.State, error)
	save  func(call func() error, s relay.Stream, p relay.Progress) error
}

func (j *journalHooks) Lease(ctx context.Context, s relay.Stream, r relay.LeaseRequest) (relay.State, error) {
	call := func() (relay.State, error) { return j.Journal.Lease(ctx, s, r) }
	if j.lease == nil {
		return call()
	}
	return j.lease(call, s, r)
}

func (j *journalHooks) Save(ctx context.Context, s relay.Stream, p relay.Progress) error {
	call := func() error { return j.Journal.Save(ctx, s, p) }
	if j.save == nil {
		return call()
	}
	return j.save(call, s, p)
}

var errJournal = errors.New("disk full")

// audited checks on each Save that all events up to the position are delivered or have an
// entry.
func (w *world) audited() *journalHooks {
	recorded := make(map[string]bool)
	var mu sync.Mutex
	return &journalHooks{Journal: w.journal, save: func(call func() error, s relay.Stream, p relay.Progress) error {
		mu.Lock()
		defer mu.Unlock()
		var entries []string
		for _, c := range p.Entries {
			entries = append(entries, c.EventID)
		}
		page, err := w.store.List(w.Context(), chargeingest.Query{
			Platform: s.Platform, Order: chargeingest.Ascending, Limit: 1 << 20})
		require.NoError(w, err)
		for _, e := range page.Events {
			w.mu.Lock()
			if w.received[reference(e)] == 0 && !recorded[e.ID] && !slices.Contains(entries, e.ID) && p.Position != "" {
				w.Errorf("the position moves beyond %s, which is neither delivered nor recorded", reference(e))
			}
			w.mu.Unlock()
			if e.ID == p.LastEventID {
				break
			}
		}
		if err := call(); err != nil {
			return err
		}
		for _, id := range entries {
			recorded[id] = true
		}
		return nil
	}}
}

func TestPositionNeverSkips(t *testing.T) {
	const seed = 20
	inWorld(t, func(w *world) {
		source := rand.New(rand.NewPCG(seed, 0))
		var mu sync.Mutex
		random := func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return source.IntN(n)
		}
		journal := w.audited()
		audit := journal.save
		journal.save = func(call func() error, s relay.Stream, p relay.Progress) error {
			switch random(12) {
			case 0:
				return errJournal
			case 1:
				_ = audit(call, s, p)
				return errJournal
			}
			return audit(call, s, p)
		}
		w.cfg.Journal, w.cfg.BatchSize, w.cfg.Concurrency = journal, 5, 1
		w.cfg.Schedule.Max = 10 * time.Second
		w.on(func(s send) ([]relay.Result, error) {
			results := make([]relay.Result, len(s.refs))
			for i, ref := range s.refs {
				switch n := random(40); {
				case n == 0:
					return nil, errDown
				case n == 1:
					return nil, &relay.BatchError{}
				case n == 2 && ref != "":
					results[i].Outcome = relay.Deferred
				case n == 3:
					results[i].Outcome = relay.Unsent
				default:
					results[i].Outcome = relay.Delivered
				}
			}
			return results, nil
		})
		total := 0
		for range 10 {
			w.add("acme", total, total+60)
			total += 60
			_, stop := w.run(w.cfg)
			wait(time.Duration(random(4000)) * time.Millisecond)
			require.NoError(t, stop())
		}
		w.on(nil)
		w.start()
		wait(time.Minute)
		require.ElementsMatch(t, refs("acme", 0, total), w.delivered())
		for ref, e := range w.entries("acme") {
			require.Equal(t, relay.DeliveredState, e.State, ref)
		}
	})
}

func TestNothingIsSavedBeforeItIsSent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Journal = w.audited()
		w.add("acme", 0, 500)
		w.on(func(s send) ([]relay.Result, error) {
			wait := time.NewTimer(time.Second)
			<-wait.C
			if slices.Contains(s.refs, "acme-300") {
				return nil, errDown
			}
			return nil, nil
		})
		w.start()
		wait(30 * time.Second)
		require.EqualValues(t, 200, w.status("acme").Lag)
	})
}

func TestPositionIncludesParkedEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Journal = w.audited()
		w.add("acme", 0, 100)
		w.on(outcomes(map[string]relay.Result{"acme-30": {Outcome: relay.Deferred}}))
		w.start()
		wait(100 * time.Millisecond)
		require.Len(t, w.entries("acme"), 1)
		require.Zero(t, w.status("acme").Lag)
	})
}

func TestSaveFails(t *testing.T) {
	for _, applied := range []bool{false, true} {
		inWorld(t, func(w *world) {
			saves, tokens := 0, make(map[int64]bool)
			w.cfg.Journal = &journalHooks{Journal: w.journal, save: func(call func() error, _ relay.Stream, p relay.Progress) error {
				saves++
				tokens[p.Token] = true
				if saves > 3 {
					return call()
				}
				if applied {
					_ = call()
				}
				return errJournal
			}}
			w.add("acme", 0, 1000)
			w.start()
			wait(500 * time.Millisecond)
			require.Less(t, len(w.sent()), 20, "the relay waits after a failure")
			require.Equal(t, 1, w.logged("the journal fails"))
			wait(20 * time.Second)
			require.Equal(t, refs("acme", 0, 1000), w.delivered())
			require.GreaterOrEqual(t, len(tokens), 3, "a late Save must be refused")
			require.Zero(t, w.status("acme").Lag)
			require.Equal(t, 1, w.logged("work again"))
		})
	}
}

func TestKillBetweenSendAndSave(t *testing.T) {
	inWorld(t, func(w *world) {
		killed := make(chan struct{})
		cfg := w.cfg
		cfg.Journal = &journalHooks{Journal: w.journal, save: func(func() error, relay.Stream, relay.Progress) error {
			<-killed
			return errJournal
		}}
		w.add("acme", 0, 100)
		_, stop := w.run(cfg)
		wait(100 * time.Millisecond)
		require.Equal(t, refs("acme", 0, 100), w.delivered())
		w.cfg.Journal = w.journal
		// The killed process neither renews nor releases its lease.
		cfg.Journal.(*journalHooks).lease = func(func() (relay.State, error), relay.Stream, relay.LeaseRequest) (relay.State, error) {
			return relay.State{}, errJournal
		}
		w.start()
		wait(10 * time.Second)
		require.Equal(t, refs("acme", 0, 100), w.delivered())
		require.Equal(t, 2, w.times("acme-0"))
		require.Zero(t, w.status("acme").Lag)
		close(killed)
		_ = stop()
	})
}
