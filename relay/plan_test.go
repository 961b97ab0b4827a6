package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func TestPlatformsInParallel(t *testing.T) {
	inWorld(t, func(w *world) {
		var active, most atomic.Int32
		w.cfg.Sink = relay.SinkFunc(func(_ context.Context, _ string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
			most.Store(max(most.Load(), active.Add(1)))
			defer active.Add(-1)
			time.Sleep(time.Second)
			return slices.Repeat([]relay.Result{{Outcome: relay.Delivered}}, len(events)), nil
		})
		w.cfg.Concurrency = 5
		for i := range 20 {
			w.add(fmt.Sprint("p", i), 0, 10)
		}
		w.start()
		wait(4100 * time.Millisecond)
		require.EqualValues(t, 5, most.Load())
		require.EqualValues(t, 200, w.relay.Stats().Delivered)
	})
}

func TestSlowPlatforms(t *testing.T) {
	for name, hang := range map[string]error{"slow": nil, "down": errDown} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				for i := range 20 {
					w.add(fmt.Sprint("slow", i), 0, 1000)
				}
				w.on(func(s send) ([]relay.Result, error) {
					if strings.HasPrefix(s.platform, "slow") {
						time.Sleep(30 * time.Second)
						return nil, hang
					}
					return nil, nil
				})
				w.start()
				wait(5 * time.Minute)
				for i := range 60 {
					w.add("fast", i, i+1)
					w.relay.Notify("fast")
					wait(time.Second)
					require.Equal(t, 1, w.times(fmt.Sprint("fast-", i)))
				}
			})
		})
	}
}

func TestManyBacklogsShareTheSlots(t *testing.T) {
	for _, latency := range []time.Duration{100 * time.Millisecond, 10 * time.Second} {
		inWorld(t, func(w *world) {
			w.cfg.Concurrency = 2
			w.on(func(send) ([]relay.Result, error) {
				time.Sleep(latency)
				return nil, nil
			})
			for i := range 6 {
				w.add(fmt.Sprint("p", i), 0, 5000)
			}
			w.start()
			wait(100 * latency)
			for i := range 6 {
				require.Positive(t, w.times(fmt.Sprintf("p%d-50", i)))
			}
		})
	}
}

func TestNotify(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.PollInterval = time.Hour
		w.add("acme", 0, 1)
		w.start()
		wait(time.Minute)
		w.add("acme", 1, 2)
		wait(time.Minute)
		require.Len(t, w.delivered(), 1)
		w.relay.Notify("acme")
		wait(0)
		require.Len(t, w.delivered(), 2)
		w.add("other", 0, 1)
		w.relay.Notify("other")
		w.relay.Notify("")
		wait(0)
		require.Len(t, w.delivered(), 3)

		w.on(func(send) ([]relay.Result, error) {
			w.on(nil)
			w.add("acme", 2, 3)
			w.relay.Notify("acme")
			return nil, nil
		})
		w.add("acme", 3, 4)
		w.relay.Notify("acme")
		wait(50 * time.Millisecond)
		require.Len(t, w.delivered(), 5)
		sends := len(w.sent())
		for i := range 1000 {
			w.add("acme", 4+i, 5+i)
			w.relay.Notify("acme")
			wait(time.Millisecond)
		}
		wait(50 * time.Millisecond)
		require.Len(t, w.delivered(), 1005)
		require.Less(t, len(w.sent())-sends, 60, "events are gathered")
	})
}

// endless generates its backlog on reading.
type endless struct {
	platforms []string
	events    int
	lists     atomic.Int64
}

func (s *endless) Platforms(_ context.Context, after string, limit int) (names []string, err error) {
	i, found := slices.BinarySearch(s.platforms, after)
	if found {
		i++
	}
	return s.platforms[i:min(i+limit, len(s.platforms))], nil
}

func (s *endless) Get(_ context.Context, _, id string) (chargeingest.StoredEvent, error) {
	return chargeingest.StoredEvent{ID: id}, nil
}

func (s *endless) List(_ context.Context, q chargeingest.Query) (page chargeingest.Page, err error) {
	s.lists.Add(1)
	n := 0
	if q.After != "" {
		fmt.Sscan(q.After, &n)
	}
	for ; n < s.events && len(page.Events) < q.Limit; n++ {
		page.Events = append(page.Events, chargeingest.StoredEvent{ID: fmt.Sprint("e", n), Content: strings.Repeat("x", 500)})
	}
	page.Position = fmt.Sprint(n)
	if n < s.events {
		page.Next = page.Position
	}
	return page, nil
}

func TestMemoryOfALargeBacklog(t *testing.T) {
	inWorld(t, func(w *world) {
		const events = 100_000
		w.cfg.Source = &endless{platforms: []string{"acme"}, events: events}
		var most uint64
		n := 0
		w.cfg.Sink = relay.SinkFunc(func(_ context.Context, _ string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
			if n++; n%400 == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			return slices.Repeat([]relay.Result{{Outcome: relay.Delivered}}, len(events)), nil
		})
		w.start()
		wait(time.Minute)
		require.EqualValues(t, events, w.relay.Stats().Delivered)
		require.Less(t, most, uint64(20<<20))
	})
}

func TestTenThousandPlatforms(t *testing.T) {
	inWorld(t, func(w *world) {
		source := &endless{events: 1}
		for i := range 10_000 {
			source.platforms = append(source.platforms, fmt.Sprintf("p%05d", i))
		}
		w.cfg.Source = source
		w.cfg.Sink = relay.SinkFunc(func(_ context.Context, _ string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
			return slices.Repeat([]relay.Result{{Outcome: relay.Delivered}}, len(events)), nil
		})
		w.start()
		wait(10 * time.Second)
		require.EqualValues(t, 10_000, w.relay.Stats().Delivered)
		before := source.lists.Load()
		wait(50 * time.Second)
		polls := source.lists.Load() - before
		require.InDelta(t, 10_000, polls, 500, "200 polls a second")
	})
}
