package relay_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

func TestNotifyBeforeTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Start = relay.FromNow()
		w.add("old", 0, 10)
		w.cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), s relay.Stream, _ relay.LeaseRequest) (relay.State, error) {
			if s.Platform == "" {
				time.Sleep(time.Second)
			}
			return call()
		}}
		w.start()
		w.relay.Notify("old")
		wait(10 * time.Second)
		require.Empty(t, w.delivered())
		w.add("old", 10, 11)
		wait(2 * time.Second)
		require.Equal(t, refs("old", 10, 11), w.delivered())
	})
}

type failedOver struct {
	*memstore.Store
	refuse atomic.Int32 // listings
}

func (s *failedOver) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	if q.After != "" && s.refuse.Add(-1) >= 0 {
		return chargeingest.Page{}, chargeingest.ErrInvalidCursor
	}
	return s.Store.List(ctx, q)
}

func TestPositionInMemoryIsRefused(t *testing.T) {
	for _, middle := range []bool{false, true} {
		t.Run(fmt.Sprintf("in the middle %v", middle), func(t *testing.T) {
			inWorld(t, func(w *world) {
				source := &failedOver{Store: w.store}
				w.cfg.Source = source
				w.add("acme", 0, 10)
				w.start()
				wait(10 * time.Second)
				if middle {
					w.on(func(s send) ([]relay.Result, error) {
						if s.refs[0] == "acme-810" {
							source.refuse.Store(1)
						}
						return nil, nil
					})
				} else {
					source.refuse.Store(1)
				}
				w.add("acme", 10, 3000)
				wait(3 * time.Second)
				require.Equal(t, refs("acme", 0, 3000), w.delivered(), "the journal's position is still valid")
				require.Empty(t, w.lines)
				require.Empty(t, w.status("acme").Failure)
			})
		})
	}
}

// Break on purpose: an extended lease does not compare the last event.
func TestJournalHasLostTheLastSave(t *testing.T) {
	inWorld(t, func(w *world) {
		ids := w.add("acme", 0, 10)
		lost := false
		w.cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), _ relay.Stream, _ relay.LeaseRequest) (relay.State, error) {
			state, err := call()
			if lost {
				page, err := w.store.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 5})
				require.NoError(t, err)
				lost, state.Token, state.Position, state.LastEventID = false, 1, page.Position, ids[4]
			}
			return state, err
		}}
		w.start()
		wait(10 * time.Second)
		lost = true
		w.add("acme", 10, 11)
		wait(2 * time.Second)
		require.Equal(t, 2, w.times("acme-5"), "the events may be others than before")
		require.Equal(t, 1, w.times("acme-4"))
	})
}

func TestNotifyOfARefusedStream(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		_, stop := w.run(w.cfg)
		wait(time.Second)
		require.NoError(t, stop())
		calls := 0
		w.cfg.Source = w.olderSource(5)
		w.cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), _ relay.Stream, _ relay.LeaseRequest) (relay.State, error) {
			calls++
			return call()
		}}
		w.start()
		for range 500 {
			wait(100 * time.Millisecond)
			w.relay.Notify("acme")
		}
		require.Less(t, calls, 5)
	})
}

func TestHugeErrorOfASink(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 2)
		w.on(func(send) ([]relay.Result, error) { return nil, errors.New(strings.Repeat("x", 1<<20)) })
		w.start()
		wait(3 * time.Second)
		require.Len(t, w.lines, 1)
		require.Less(t, len(w.lines[0]), 1000)
		require.Less(t, len(w.status("acme").Failure), 1000)
	})
}

func TestRecoveryWakesPlatforms(t *testing.T) {
	inWorld(t, func(w *world) {
		const platforms = 200
		w.on(down)
		for i := range platforms {
			w.add(fmt.Sprint("p", i), 0, 3)
		}
		w.start()
		wait(2 * time.Hour)
		up := time.Now()
		w.on(nil)
		first := time.Duration(0)
		for len(w.delivered()) < 3*platforms {
			wait(time.Second)
			if len(w.delivered()) > 0 && first == 0 {
				first = time.Since(up)
			}
		}
		require.Less(t, time.Since(up)-first, 5*time.Second)
	})
}

func TestRecoveryRespectsRetryAfter(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("a", 0, 1)
		w.add("b", 0, 1)
		w.on(func(s send) ([]relay.Result, error) {
			if s.platform == "a" {
				return nil, later{30 * time.Minute}
			}
			return nil, errDown
		})
		w.start()
		wait(15 * time.Minute)
		w.on(nil)
		wait(14 * time.Minute)
		require.Equal(t, refs("b", 0, 1), w.delivered())
		wait(20 * time.Minute)
		require.Len(t, w.delivered(), 2)
	})
}

func TestFailureIsCleared(t *testing.T) {
	stream := relay.Stream{Destination: destination, Platform: "acme"}
	for name, clear := range map[string]func(*world){
		"the last parked event is skipped": func(w *world) {
			_, err := w.journal.Resolve(w.Context(), relay.Resolution{
				Stream: stream, Action: relay.Skip, State: relay.Parked, By: "ops", At: time.Now()})
			require.NoError(w, err)
			wait(11 * time.Minute)
		},
		"and after a restart": func(w *world) {
			require.NoError(w, w.stop())
			_, err := w.journal.Resolve(w.Context(), relay.Resolution{
				Stream: stream, Action: relay.Skip, State: relay.Parked, By: "ops", At: time.Now()})
			require.NoError(w, err)
			w.start()
			wait(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.add("acme", 0, 2)
				w.on(outcomes(map[string]relay.Result{"acme-1": {Outcome: relay.Deferred}}))
				w.start()
				wait(100 * time.Millisecond)
				w.on(down)
				wait(time.Hour)
				require.NotEmpty(t, w.status("acme").Failure)
				clear(w)
				require.Empty(t, w.status("acme").Failure)
				require.Empty(t, w.relay.Stats().Down)
			})
		})
	}
}
