package relay_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/relay"
)

func TestBisect(t *testing.T) {
	all := refs("acme", 0, 64)
	for _, c := range []struct {
		name      string
		permanent bool
		bad       []string
		requests  int // at most
	}{
		{"first permanently", true, all[:1], 13},
		{"last permanently", true, all[63:], 13},
		{"middle permanently", true, all[31:32], 13},
		{"three permanently", true, []string{all[3], all[30], all[50]}, 33},
		{"all permanently", true, all, 127},
		{"first for now", false, all[:1], 4},
		{"last for now", false, all[63:], 16},
		{"middle for now", false, all[31:32], 16},
		{"first and last for now", false, []string{all[0], all[63]}, 17},
		{"three for now", false, []string{all[3], all[30], all[50]}, 34},
		{"four in a row for now", false, all[10:14], 34},
		{"all but the last for now", false, all[:63], 145},
		{"all but one for now", false, append(slices.Clone(all[:40]), all[41:]...), 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.cfg.BatchSize, w.cfg.PollInterval = 64, time.Minute
				w.add("acme", 0, 64)
				w.on(poison(c.permanent, c.bad...))
				until := 500 * time.Millisecond
				if c.name == "all but one for now" {
					w.cfg.Schedule.Max, until = 10*time.Second, 12*time.Minute
				}
				w.start()
				wait(until)
				entries := w.entries("acme")
				require.Len(t, entries, len(c.bad))
				for _, ref := range c.bad {
					want := relay.Parked
					if c.permanent {
						want = relay.Dead
					}
					require.Equal(t, want, entries[ref].State)
					require.Equal(t, "bad", entries[ref].Reason.Code)
				}
				require.Len(t, w.delivered(), 64-len(c.bad))
				require.Zero(t, w.status("acme").Lag)
				require.Empty(t, w.status("acme").Failure)
				if until < time.Second {
					require.LessOrEqual(t, len(w.sent()), c.requests)
				}
			})
		})
	}
}

func TestLoneEventRejectedForNow(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 1)
		w.on(poison(false, "acme-0"))
		w.start()
		wait(time.Minute)
		require.Equal(t, []string{"acme"}, w.relay.Stats().Down, "it may be the destination")
		require.Empty(t, w.entries("acme"))
		w.add("acme", 1, 2)
		wait(21 * time.Minute)
		require.Empty(t, w.relay.Stats().Down)
		require.Equal(t, refs("acme", 1, 2), w.delivered())
		require.Equal(t, relay.Parked, w.entries("acme")["acme-0"].State)
	})
}

func TestEveryEventIsProbed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.Schedule.Max = time.Second
		w.add("acme", 0, 30)
		w.on(unavailable)
		w.start()
		wait(40 * time.Second)
		probed := make(map[string]bool)
		for _, s := range w.sent()[1:] {
			require.Len(t, s.refs, 1)
			probed[s.refs[0]] = true
		}
		require.Len(t, probed, 30)
		require.Empty(t, w.entries("acme"))
		require.Empty(t, w.status("acme").Position)
	})
}

func TestPoisonLongerThanAPage(t *testing.T) {
	inWorld(t, func(w *world) {
		w.cfg.BatchSize, w.cfg.PollInterval = 5, time.Minute
		w.add("acme", 0, 200)
		w.on(poison(false, refs("acme", 10, 120)...))
		w.start()
		wait(2 * time.Minute)
		require.Len(t, w.delivered(), 90)
		require.Len(t, w.entries("acme"), 110)
		w.on(nil)
		wait(5 * time.Minute)
		require.Len(t, w.delivered(), 200)
	})
}

func TestRejectionsAmongManyEvents(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole batches %v", whole), func(t *testing.T) {
			inWorld(t, func(w *world) {
				const n = 4000
				dead, later := make(map[string]relay.Result), make(map[string]relay.Result)
				for i, ref := range refs("acme", 0, n) {
					switch {
					case i%100 == 7:
						dead[ref] = relay.Result{Outcome: relay.Rejected}
					case i%20 == 3:
						later[ref] = relay.Result{Outcome: relay.Deferred}
					}
				}
				w.on(func(s send) ([]relay.Result, error) {
					results := make([]relay.Result, len(s.refs))
					for i, ref := range s.refs {
						results[i].Outcome = relay.Delivered
						for _, bad := range []map[string]relay.Result{dead, later} {
							if r, ok := bad[ref]; ok && whole {
								return nil, &relay.BatchError{Permanent: r.Outcome == relay.Rejected}
							} else if ok {
								results[i] = r
							}
						}
					}
					return results, nil
				})
				w.add("acme", 0, n)
				w.start()
				wait(10 * time.Second)
				require.Len(t, w.delivered(), n-len(dead)-len(later), "the rest does not wait")
				w.on(outcomes(dead))
				wait(30 * time.Second)
				require.Len(t, w.delivered(), n-len(dead))
				for ref, e := range w.entries("acme") {
					_, isDead := dead[ref]
					require.Equal(t, isDead, e.State == relay.Dead, ref)
				}
			})
		})
	}
}
