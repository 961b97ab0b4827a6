package prommetrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/prommetrics"
	"example.com/chargeingest/relay"
)

type ledger struct {
	relay.Ledger
	status []relay.Status
	err    error
}

func (l ledger) Status(context.Context, string) ([]relay.Status, error) { return l.status, l.err }

func scrapeRelays(t *testing.T, l relay.Ledger, stats map[string]func() relay.Stats) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	require.NoError(t, m.RegisterRelays(l, stats))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	return withPrefix(endpoint{registry: registry}.scrape(t), "chargeingest_relay_")
}

func TestRelays(t *testing.T) {
	var l ledger
	for i := range 10_000 {
		l.status = append(l.status, relay.Status{
			Stream: relay.Stream{Destination: "https://a", Platform: fmt.Sprint(i)}, Lag: 2, Parked: 1, OldestPending: time.Now().Add(-time.Hour),
		})
	}
	l.status = append(l.status, relay.Status{Stream: relay.Stream{Destination: "former", Platform: "p"}, Lag: 1})
	l.status = append(l.status, relay.Status{Stream: relay.Stream{Destination: "kafka:b", Platform: "p"}, Lag: -1, Dead: 3})
	got := scrapeRelays(t, l, map[string]func() relay.Stats{
		"https://a": func() relay.Stats {
			return relay.Stats{
				Delivered: 5, Repeated: 1, Parked: 2, Dead: 4, Down: []string{"1", "2"},
				Attempts: map[string]uint64{"delivered": 5, "repeated": 1, "deferred": 7, "rejected": 4, "failed": 9},
			}
		},
		"kafka:b": func() relay.Stats { return relay.Stats{} },
		"nats:c":  func() relay.Stats { return relay.Stats{} },
	})
	const lagOfA = `chargeingest_relay_lag_seconds{destination="https://a"}`
	require.InDelta(t, 3600, got[lagOfA], 60)
	require.InDelta(t, time.Now().Unix(), got["chargeingest_relay_status_timestamp_seconds"], 60)
	delete(got, lagOfA)
	delete(got, "chargeingest_relay_status_timestamp_seconds")
	want := make(map[string]float64)
	for destination, values := range map[string]map[string]float64{
		"https://a": {
			"events_total delivered": 5, "events_total repeated": 1, "events_total parked": 2, "events_total dead": 4,
			"attempts_total delivered": 5, "attempts_total repeated": 1, "attempts_total deferred": 7, "attempts_total rejected": 4, "attempts_total failed": 9,
			"up": 0, "platforms_down": 2, "lag_events": 20_000, "platforms_lag_unknown": 0, "parked_events": 10_000, "dead_events": 0,
		},
		"kafka:b": {"up": 1, "platforms_down": 0, "lag_events": 0, "lag_seconds": 0, "platforms_lag_unknown": 1, "parked_events": 0, "dead_events": 3},
		"nats:c":  {"up": 1, "platforms_down": 0, "lag_events": 0, "lag_seconds": 0, "platforms_lag_unknown": 0, "parked_events": 0, "dead_events": 0},
	} {
		for _, result := range []string{"delivered", "repeated", "parked", "dead"} {
			want[fmt.Sprintf("chargeingest_relay_events_total{destination=%q, result=%q}", destination, result)] = values["events_total "+result]
			delete(values, "events_total "+result)
		}
		for _, outcome := range []string{"delivered", "repeated", "deferred", "rejected", "unsent", "failed"} {
			want[fmt.Sprintf("chargeingest_relay_attempts_total{destination=%q, outcome=%q}", destination, outcome)] = values["attempts_total "+outcome]
			delete(values, "attempts_total "+outcome)
		}
		for name, value := range values {
			want[fmt.Sprintf("chargeingest_relay_%s{destination=%q}", name, destination)] = value
		}
	}
	require.Equal(t, want, got, "neither platforms nor former destinations")
}

func TestRelayStatusUnknown(t *testing.T) {
	got := scrapeRelays(t, ledger{err: errors.New("locked")}, map[string]func() relay.Stats{"a": func() relay.Stats { return relay.Stats{Delivered: 5} }})
	require.Equal(t, 5, int(got[`chargeingest_relay_events_total{destination="a", result="delivered"}`]))
	for name := range maps.Keys(got) {
		require.NotRegexp(t, "lag|parked_events|dead_events|timestamp", name, "a zero would be wrong")
	}
}
