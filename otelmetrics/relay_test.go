package otelmetrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"example.com/chargeingest/otelmetrics"
	"example.com/chargeingest/relay"
)

type ledger struct {
	relay.Ledger
	status []relay.Status
	err    error
}

func (l ledger) Status(context.Context, string) ([]relay.Status, error) { return l.status, l.err }

func collectRelays(t *testing.T, l relay.Ledger, stats map[string]func() relay.Stats) map[string]float64 {
	t.Helper()
	reader := sdk.NewManualReader()
	m, err := otelmetrics.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	require.NoError(t, m.RegisterRelays(l, stats))
	found := collect(t, reader)
	maps.DeleteFunc(found, func(name string, _ float64) bool { return !strings.HasPrefix(name, "chargeingest.relay.") })
	return found
}

func TestRelays(t *testing.T) {
	var l ledger
	for i := range 1000 {
		l.status = append(l.status, relay.Status{
			Stream: relay.Stream{Destination: "a", Platform: fmt.Sprint(i)}, Lag: 2, Parked: 1, Dead: 3, OldestPending: time.Now().Add(-time.Hour),
		})
	}
	got := collectRelays(t, l, map[string]func() relay.Stats{"a": func() relay.Stats {
		return relay.Stats{Delivered: 5, Dead: 4, Down: []string{"1", "2"}, Attempts: map[string]uint64{"delivered": 5, "failed": 9}}
	}})
	require.InDelta(t, 3600, got["chargeingest.relay.lag.age destination=a"], 60)
	require.InDelta(t, 0, got["chargeingest.relay.status.age"], 60)
	delete(got, "chargeingest.relay.lag.age destination=a")
	delete(got, "chargeingest.relay.status.age")
	require.Equal(t, map[string]float64{
		"chargeingest.relay.events destination=a,result=delivered":    5,
		"chargeingest.relay.events destination=a,result=repeated":     0,
		"chargeingest.relay.events destination=a,result=parked":       0,
		"chargeingest.relay.events destination=a,result=dead":         4,
		"chargeingest.relay.attempts destination=a,outcome=delivered": 5,
		"chargeingest.relay.attempts destination=a,outcome=repeated":  0,
		"chargeingest.relay.attempts destination=a,outcome=deferred":  0,
		"chargeingest.relay.attempts destination=a,outcome=rejected":  0,
		"chargeingest.relay.attempts destination=a,outcome=unsent":    0,
		"chargeingest.relay.attempts destination=a,outcome=failed":    9,
		"chargeingest.relay.up destination=a":                         0,
		"chargeingest.relay.platforms.down destination=a":             2,
		"chargeingest.relay.lag.events destination=a":                 2000,
		"chargeingest.relay.platforms.lag_unknown destination=a":      0,
		"chargeingest.relay.parked destination=a":                     1000,
		"chargeingest.relay.dead destination=a":                       3000,
	}, got)
}

func TestRelayStatusUnknown(t *testing.T) {
	got := collectRelays(t, ledger{err: errors.New("locked")}, map[string]func() relay.Stats{"a": func() relay.Stats { return relay.Stats{} }})
	require.Equal(t, 1, int(got["chargeingest.relay.up destination=a"]))
	for name := range maps.Keys(got) {
		require.NotRegexp(t, "lag|parked |dead |age", name, "a zero would be wrong")
	}
}
