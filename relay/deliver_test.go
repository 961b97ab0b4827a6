package relay_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/relay"
)

func TestDeliveryInOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 1234)
		w.start()
		wait(time.Second)
		require.Equal(t, refs("acme", 0, 1234), w.delivered())
		for _, s := range w.sent() {
			require.LessOrEqual(t, len(s.ids), 50)
		}
		ids := w.add("acme", 1234, 1300)
		wait(2 * time.Second)
		require.Equal(t, refs("acme", 0, 1300), w.delivered())
		status := w.status("acme")
		require.EqualValues(t, 0, status.Lag)
		require.EqualValues(t, 1300, status.Delivered)
		require.Equal(t, ids[65], status.LastEventID)
		require.EqualValues(t, 1300, w.relay.Stats().Delivered)
	})
}

func TestOutcomesOfEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		reason := relay.Reason{Status: 422, Code: "bad", Field: "value.number", Message: "too large"}
		w.on(outcomes(map[string]relay.Result{
			"acme-2": {Outcome: relay.Repeated},
			"acme-3": {Outcome: relay.Rejected, Reason: reason},
			"acme-4": {Outcome: relay.Deferred, Reason: relay.Reason{Status: 409}},
		}))
		w.start()
		wait(100 * time.Millisecond)
		entries := w.entries("acme")
		require.Len(t, entries, 2)
		require.Equal(t, relay.Dead, entries["acme-3"].State)
		require.Equal(t, reason, entries["acme-3"].Reason)
		require.Equal(t, relay.Parked, entries["acme-4"].State)
		stats := w.relay.Stats()
		require.Equal(t, relay.Stats{Delivered: 7, Repeated: 1, Parked: 1, Dead: 1, Attempts: map[string]uint64{
			"unsent": 0, "delivered": 7, "repeated": 1, "deferred": 1, "rejected": 1, "failed": 0,
		}}, stats)
		w.on(nil)
		wait(2 * time.Second)
		require.Equal(t, relay.DeliveredState, w.entries("acme")["acme-4"].State)
		require.Equal(t, 1, w.times("acme-4"))
	})
}

func TestUnsentEventsAreSentAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		w.on(func(s send) ([]relay.Result, error) {
			results := make([]relay.Result, len(s.refs))
			if i := slices.Index(s.refs, "acme-6"); i >= 0 {
				results[i].Outcome = relay.Rejected
				return results, nil
			}
			return nil, nil
		})
		w.start()
		wait(100 * time.Millisecond)
		require.Len(t, w.sent(), 2)
		require.Len(t, w.delivered(), 9)
		require.Equal(t, relay.Dead, w.entries("acme")["acme-6"].State)
	})
}

func TestSinkThatBreaksItsContract(t *testing.T) {
	for name, decide := range map[string]func(send) ([]relay.Result, error){
		"panic":           func(send) ([]relay.Result, error) { panic("broken sink") },
		"too few results": func(s send) ([]relay.Result, error) { return make([]relay.Result, len(s.ids)-1), nil },
		"all unsent":      func(s send) ([]relay.Result, error) { return make([]relay.Result, len(s.ids)), nil },
		"unknown outcome": func(s send) ([]relay.Result, error) { return []relay.Result{{Outcome: 9}, {Outcome: -1}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.add("acme", 0, 2)
				w.on(decide)
				w.start()
				wait(3 * time.Second)
				require.Equal(t, []string{"acme"}, w.relay.Stats().Down)
				require.Empty(t, w.status("acme").LastEventID)
				require.Empty(t, w.entries("acme"))
				require.Less(t, len(w.sent()), 8)
				w.on(nil)
				wait(10 * time.Second)
				require.Equal(t, refs("acme", 0, 2), w.delivered())
				require.Empty(t, w.relay.Stats().Down)
			})
		})
	}
}

func TestConfigErrors(t *testing.T) {
	inWorld(t, func(w *world) {
		for field, change := range map[string]func(*relay.Config){
			"Config.Name":         func(c *relay.Config) { c.Name = "" },
			"Config.Source":       func(c *relay.Config) { c.Source = nil },
			"Config.Journal":      func(c *relay.Config) { c.Journal = nil },
			"Config.Sink":         func(c *relay.Config) { c.Sink = nil },
			"Config.Platforms":    func(c *relay.Config) { c.Start = relay.FromPosition("1") },
			"Config.BatchSize":    func(c *relay.Config) { c.BatchSize = -1 },
			"Config.BatchBytes":   func(c *relay.Config) { c.BatchBytes = -1 },
			"Config.Concurrency":  func(c *relay.Config) { c.Concurrency = -1 },
			"Config.Schedule.Max": func(c *relay.Config) { c.Schedule = relay.Schedule{Min: 2, Max: 1} },
			"Config.PollInterval": func(c *relay.Config) { c.PollInterval = -1 },
			"Config.LeaseTime":    func(c *relay.Config) { c.LeaseTime = time.Millisecond },
		} {
			cfg := w.cfg
			change(&cfg)
			_, err := relay.New(cfg)
			require.ErrorContains(t, err, field)
		}
	})
}

func TestBatchBytesAndObserver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		w.cfg.BatchBytes = 3 * len(`{"reference":"acme-0"}`)
		var seen []relay.Observation
		w.cfg.Observer = func(o relay.Observation) { seen = append(seen, o) }
		w.on(outcomes(map[string]relay.Result{"acme-0": {Outcome: relay.Deferred}}))
		w.start()
		wait(100 * time.Millisecond)
		w.on(down)
		wait(2 * time.Second)
		stream := relay.Stream{Destination: destination, Platform: "acme"}
		require.Equal(t, relay.Observation{Stream: stream, Delivered: 2, Deferred: 1}, seen[0])
		require.Equal(t, relay.Observation{Stream: stream, Delivered: 1}, seen[3])
		require.True(t, seen[4].Retry)
		require.ErrorIs(t, seen[4].Err, errDown)
		w.cfg.BatchBytes, w.cfg.Name = 1, "another"
		w.on(nil)
		w.run(w.cfg)
		wait(time.Second)
		require.GreaterOrEqual(t, w.times("acme-9"), 2, "an event may exceed the limit")
	})
}

func TestRunTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start()
		wait(time.Second)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, w.relay.Run(ctx), "another Run")
		require.NoError(t, w.stop())
		w.add("acme", 0, 1)
		require.NoError(t, w.relay.Run(ctx))
		require.Equal(t, refs("acme", 0, 1), w.delivered())
	})
}

func TestReasonsOfSinks(t *testing.T) {
	long := strings.Repeat("é", 600)
	for name, c := range map[string]struct {
		reason relay.Reason
		want   relay.Reason
	}{
		"no reason but a cause": {relay.Reason{}, relay.Reason{Message: errDown.Error()}},
		"a code":                {relay.Reason{Code: "bad"}, relay.Reason{Code: "bad"}},
		"long texts":            {relay.Reason{Code: long, Message: long}, relay.Reason{Code: long[:1000], Message: long[:1000]}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.add("acme", 0, 1)
				w.on(func(send) ([]relay.Result, error) {
					return nil, &relay.BatchError{Permanent: true, Reason: c.reason, Err: errDown}
				})
				w.start()
				wait(time.Second)
				require.Equal(t, c.want, w.entries("acme")["acme-0"].Reason)
			})
		})
	}
}
