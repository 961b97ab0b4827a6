package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func TestSinkReturnsANilBatchError(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 2)
		w.on(func(send) ([]relay.Result, error) {
			var e *relay.BatchError
			return nil, e
		})
		w.start()
		wait(3 * time.Second)
		require.Equal(t, []string{"acme"}, w.relay.Stats().Down)
		w.on(nil)
		wait(10 * time.Second)
		require.Equal(t, refs("acme", 0, 2), w.delivered())
	})
}

func TestObserverPanics(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 2)
		w.cfg.Observer = func(relay.Observation) { panic("broken observer") }
		w.start()
		wait(time.Second)
		require.Equal(t, refs("acme", 0, 2), w.delivered())
	})
}

func TestOutageLongerThanMaxAge(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Schedule.MaxAge = time.Hour
		w.add("acme", 0, 60)
		w.on(poison(false, "acme-7"))
		w.start()
		wait(time.Second)
		require.Equal(t, relay.Parked, w.entries("acme")["acme-7"].State)
		require.Len(t, w.delivered(), 59)
		w.on(unavailable)
		wait(3 * time.Hour)
		e := w.entries("acme")["acme-7"]
		require.Equal(t, relay.Parked, e.State)
		require.Less(t, e.Attempts, 60)
		w.add("acme", 60, 61)
		wait(time.Hour)
		require.Equal(t, relay.Parked, w.entries("acme")["acme-7"].State)
		w.on(poison(false, "acme-7"))
		for i := range 20 {
			w.add("acme", 61+i, 62+i)
			wait(time.Minute)
		}
		require.Equal(t, relay.Dead, w.entries("acme")["acme-7"].State, "the destination is up")
		require.Len(t, w.delivered(), 80)
	})
}

func TestPoisonLongerThanTheProbes(t *testing.T) {
	for name, c := range map[string]struct {
		events int
		size   int
	}{
		"many":  {2500, 0},
		"large": {7, 3 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.cfg.Schedule.Max = time.Second
				add := func(from, to int) {
					b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
					for _, ref := range refs("acme", from, to) {
						b.Events = append(b.Events, chargeingest.NewEvent{
							Content:   `{"reference":"` + ref + `","x":"` + strings.Repeat("x", c.size) + `"}`,
							Reference: ref, Timestamp: time.Now(), ReceivedAt: time.Now(),
						})
					}
					_, err := w.store.Append(w.Context(), b)
					require.NoError(w, err)
				}
				for i := 0; i < c.events; i += 500 {
					add(i, min(i+500, c.events))
				}
				w.on(poison(false, refs("acme", 0, c.events)...))
				w.start()
				wait(time.Minute)
				require.Empty(t, w.entries("acme"))
				add(c.events, c.events+1)
				wait(time.Minute)
				require.Equal(t, refs("acme", c.events, c.events+1), w.delivered())
				require.Len(t, w.entries("acme"), c.events)
				require.LessOrEqual(t, w.times(fmt.Sprint("acme-", c.events)), 150)
			})
		})
	}
}
