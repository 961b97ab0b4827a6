package relay_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/relay"
)

func TestDestinationDown(t *testing.T) {
	for name, decide := range map[string]func(send) ([]relay.Result, error){
		"connection refused": down,
		"503 for everything": unavailable,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.cfg.PollInterval = 10 * time.Second
				w.on(decide)
				for i := range 100 {
					w.add(fmt.Sprint("p", i), 0, 3)
				}
				w.start()
				wait(time.Hour - 30*time.Second)
				require.Len(t, w.relay.Stats().Down, 100)
				require.InDelta(t, 60, w.logged("the destination is down"), 1, "one line a minute")
				require.Len(t, w.lines, w.logged("the destination is down"))
				all, err := w.journal.Status(t.Context(), "")
				require.NoError(t, err)
				require.Len(t, all, 100)
				for _, status := range all {
					require.Empty(t, status.Position)
					require.Zero(t, status.Parked)
					require.NotEmpty(t, status.Failure)
					require.WithinDuration(t, time.Now().Add(-time.Hour), status.FailingSince, time.Minute)
				}
				require.Less(t, len(w.sent()), 100*20)
				w.on(nil)
				wait(10 * time.Minute)
				require.Len(t, w.delivered(), 300)
				require.Equal(t, 1, w.logged("up again"))
				for _, platform := range []string{"p0", "p99"} {
					require.Empty(t, w.status(platform).Failure)
				}
				require.Empty(t, w.relay.Stats().Down)
			})
		})
	}
}

func TestDownInTheMiddleOfAPage(t *testing.T) {
	inWorld(t, func(w *world) {
		ids := w.add("acme", 0, 400)
		w.on(func(s send) ([]relay.Result, error) {
			if len(w.sent()) > 3 {
				return nil, errDown
			}
			return nil, nil
		})
		w.start()
		wait(100 * time.Millisecond)
		require.Equal(t, ids[149], w.status("acme").LastEventID)
		require.EqualValues(t, 250, w.status("acme").Lag)
		w.on(nil)
		wait(5 * time.Second)
		require.Equal(t, refs("acme", 0, 400), w.delivered())
		require.Equal(t, 1, w.times("acme-149"), "saved events are not repeated")
	})
}

func TestDownWithOnlyParkedEvents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 1)
		w.on(outcomes(map[string]relay.Result{"acme-0": {Outcome: relay.Deferred}}))
		w.start()
		wait(100 * time.Millisecond)
		w.on(down)
		wait(30 * time.Minute)
		require.Less(t, len(w.sent()), 25)
		require.InDelta(t, 30, w.logged("the destination is down"), 1)
		require.Zero(t, w.logged("up again"))
		require.Equal(t, 1, w.entries("acme")["acme-0"].Attempts)
		w.on(nil)
		wait(10 * time.Minute)
		require.Len(t, w.delivered(), 1)
	})
}

type later struct{ time.Duration }

func (later) Error() string               { return "429" }
func (l later) RetryAfter() time.Duration { return l.Duration }

func TestRetryAfter(t *testing.T) {
	single := errors.New("")
	for name, err := range map[string]error{
		"down":             fmt.Errorf("sink: %w", later{50 * time.Second}),
		"batch":            &relay.BatchError{RetryAfter: 50 * time.Second},
		"event":            single,
		"absurdly distant": later{1 << 60},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.add("acme", 0, 1)
				w.cfg.PollInterval = 2 * time.Second
				w.on(func(send) ([]relay.Result, error) {
					if errors.Is(err, single) {
						return []relay.Result{{Outcome: relay.Deferred, RetryAfter: 50 * time.Second}}, nil
					}
					return nil, err
				})
				w.start()
				wait(time.Second)
				w.on(nil)
				wait(48 * time.Second)
				require.Empty(t, w.delivered())
				if name == "absurdly distant" {
					wait(time.Hour)
				}
				wait(4 * time.Second)
				require.Len(t, w.delivered(), 1)
			})
		})
	}
}

func TestMaxAge(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Schedule.MaxAge = time.Hour
		w.add("acme", 0, 2)
		w.on(outcomes(map[string]relay.Result{"acme-0": {Outcome: relay.Deferred, Reason: relay.Reason{Status: 409}}}))
		w.start()
		wait(59 * time.Minute)
		e := w.entries("acme")["acme-0"]
		require.Equal(t, relay.Parked, e.State)
		require.Greater(t, e.Attempts, 10)
		require.Less(t, e.Attempts, 25)
		wait(2 * time.Minute)
		e = w.entries("acme")["acme-0"]
		require.Equal(t, relay.Dead, e.State)
		require.Equal(t, 409, e.Reason.Status)
		page, err := w.journal.Entries(t.Context(), relay.EntryQuery{
			Stream: relay.Stream{Destination: destination, Platform: "acme"}, EventID: e.EventID, Limit: 1})
		require.NoError(t, err)
		history := page.Entries[0].History
		require.Equal(t, "deferred", history[0].Outcome)
		require.Equal(t, "expired", history[len(history)-1].Outcome)
		require.EqualValues(t, 1, w.relay.Stats().Dead)
		require.EqualValues(t, 1, w.relay.Stats().Parked)

		_, err = w.journal.Resolve(t.Context(), relay.Resolution{Stream: w.status("acme").Stream, Action: relay.Retry,
			EventIDs: []string{e.EventID}, By: "ops", At: time.Now()})
		require.NoError(t, err)
		w.on(nil)
		wait(2 * time.Second)
		require.Equal(t, relay.DeliveredState, w.entries("acme")["acme-0"].State)
	})
}
