package relay_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

func TestStartFromNow(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Start = relay.FromNow()
		w.add("old", 0, 10)
		_, stop := w.run(w.cfg)
		_, stop2 := w.run(w.cfg)
		wait(2 * time.Second)
		require.Empty(t, w.delivered())
		w.add("old", 10, 12)
		w.add("new", 0, 3)
		wait(8 * time.Second)
		require.ElementsMatch(t, append(refs("old", 10, 12), refs("new", 0, 3)...), w.delivered())
		require.NoError(t, stop())
		require.NoError(t, stop2())
		w.add("late", 0, 3)
		w.start()
		wait(2 * time.Second)
		require.Len(t, w.delivered(), 8, "the marker shows that the destination has been started")
		all, err := w.journal.Status(t.Context(), "")
		require.NoError(t, err)
		require.Len(t, all, 3)
	})
}

func TestStartFromNowInterrupted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Start = relay.FromNow()
		for _, platform := range []string{"a", "b", "c"} {
			w.add(platform, 0, 5)
		}
		var calls atomic.Int32
		w.cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), s relay.Stream, _ relay.LeaseRequest) (relay.State, error) {
			if calls.Add(1) == 4 {
				return relay.State{}, errJournal
			}
			return call()
		}}
		w.start()
		wait(time.Minute)
		require.Empty(t, w.delivered())
		require.Equal(t, 1, w.logged("the journal fails"))
		w.add("b", 5, 6)
		wait(2 * time.Second)
		require.Equal(t, refs("b", 5, 6), w.delivered())
	})
}

func TestStartFromPosition(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		page, err := w.store.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 4})
		require.NoError(t, err)
		w.cfg.Platforms, w.cfg.Start = []string{"acme"}, relay.FromPosition(page.Position)
		w.add("other", 0, 10)
		w.start()
		wait(time.Second)
		require.Equal(t, refs("acme", 4, 10), w.delivered())
		w.relay.Notify("other")
		wait(time.Second)
		require.Equal(t, refs("acme", 4, 10), w.delivered())
	})
}

func TestAnotherName(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		w.start()
		wait(time.Second)
		w.cfg.Name = "another"
		w.run(w.cfg)
		wait(time.Second)
		require.Equal(t, 2, w.times("acme-9"))
	})
}

func (w *world) olderSource(events int) *memstore.Store {
	older, store := memstore.New(), w.store
	w.store = older
	w.add("acme", 0, events)
	w.store = store
	return older
}

func TestOlderDatabase(t *testing.T) {
	for name, events := range map[string]int{"shorter": 5, "with other events": 15} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ids := w.add("acme", 0, 10)
				_, stop := w.run(w.cfg)
				wait(time.Second)
				require.NoError(t, stop())
				cfg := w.cfg
				cfg.Source = w.olderSource(events)
				_, stop = w.run(cfg)
				wait(10*time.Minute + time.Second)
				require.Len(t, w.delivered(), 10)
				require.Equal(t, 11, w.logged("streams are refused"))
				require.Contains(t, w.status("acme").Failure, "the source does not have")
				require.Equal(t, ids[9], w.status("acme").LastEventID)
				require.ErrorContains(t, stop(), "platform acme: the source does not have")

				w.add("acme", 10, 11)
				w.start()
				wait(10 * time.Second)
				require.Equal(t, refs("acme", 0, 11), w.delivered())
				require.Empty(t, w.status("acme").Failure)
			})
		})
	}
}

func TestRetiredDestination(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		w.start()
		wait(time.Second)
		_, err := w.journal.Resolve(t.Context(), relay.Resolution{
			Stream: w.status("acme").Stream, Action: relay.Retire, By: "ops", At: time.Now()})
		require.NoError(t, err)
		wait(10 * time.Second)
		w.add("acme", 10, 20)
		wait(time.Minute)
		require.Equal(t, 1, w.logged("streams are refused"))
		require.ErrorIs(t, w.stop(), relay.ErrRetired)
	})
}

type withoutEvent struct {
	*memstore.Store
	id string
}

func (s *withoutEvent) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	if id == s.id {
		return chargeingest.StoredEvent{}, chargeingest.ErrNotFound
	}
	return s.Store.Get(ctx, platform, id)
}

func TestParkedEventIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		ids := w.add("acme", 0, 10)
		w.cfg.Source = &withoutEvent{w.store, ids[3]}
		w.on(outcomes(map[string]relay.Result{"acme-3": {Outcome: relay.Deferred}, "acme-4": {Outcome: relay.Deferred}}))
		w.start()
		wait(100 * time.Millisecond)
		w.on(nil)
		wait(2 * time.Second)
		entries := w.entries("acme")
		require.Equal(t, relay.Dead, entries["acme-3"].State)
		require.Equal(t, "event_not_found", entries["acme-3"].Reason.Code)
		require.Equal(t, relay.DeliveredState, entries["acme-4"].State)
		require.EqualValues(t, 1, w.relay.Stats().Dead)
	})
}
