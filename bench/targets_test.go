package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// measured are rounds in which only some tasks have figures.
func measured(each ...map[string]float64) *results {
	found := &results{tasks: round()}
	for _, rates := range each {
		r := roundResults{sync: time.Millisecond, by: make(map[string]measurement)}
		for name, rate := range rates {
			r.by[name] = measurement{outcome: outcome{
				Rate:    rate,
				Latency: latencies{P50: time.Duration(rate) * time.Millisecond, P99: time.Duration(2*rate) * time.Millisecond},
			}}
		}
		found.rounds = append(found.rounds, r)
	}
	return found
}

// about returns the finding whose description starts so.
func about(t *testing.T, findings []finding, start string) finding {
	for _, f := range findings {
		if strings.HasPrefix(f.about, start) {
			return f
		}
	}
	require.FailNow(t, "no such finding", start)
	return finding{}
}

func TestRatiosAreThoseOfEachRound(t *testing.T) {
	// The machine was half as fast in the second round, and ratios of medians
	// would be others: 40 to 100.
	found := measured(
		map[string]float64{"c@64": 60, "a@64": 100},
		map[string]float64{"c@64": 20, "a@64": 50},
		map[string]float64{"c@64": 40, "a@64": 200},
	)
	f := about(t, found.findings(), "single events, 64 connections, FULL, against the empty")
	require.InDeltaSlice(t, []float64{0.6, 0.4, 0.2}, f.values, 1e-9)
	require.False(t, f.met())

	var b strings.Builder
	found.report(&b, "a machine", options{rounds: 3, time: time.Second, seed: 1, version: 4})
	require.Contains(t, b.String(), "against the empty handler | 0.4 | 0.2 – 0.6 | ≥ 0.45 | no |")
	require.Contains(t, b.String(), "against the naive endpoint | not measured | – | ≥ 6 | – |")
	require.Contains(t, b.String(), "| a: empty net/http handler | 64 | 100 |")
}

func TestTargetsAreMetAtTheirBound(t *testing.T) {
	for name, c := range map[string]struct {
		rates map[string]float64
		start string
		met   bool
	}{
		"least, reached":            {map[string]float64{"c@64": 6, "b@64": 1}, "single events, 64 connections, FULL, against the naive", true},
		"least, not reached":        {map[string]float64{"c@64": 5.99, "b@64": 1}, "single events, 64 connections, FULL, against the naive", false},
		"batches, reached":          {map[string]float64{"d@8": 9, "h": 10}, "batches of 500", true},
		"memory, not reached":       {map[string]float64{"f@64": 74, "a@64": 100}, "memstore", false},
		"most, by the p50, reached": {map[string]float64{"c@1": 1}, "lone client", true},
		"most, by the p50, beyond":  {map[string]float64{"c@1": 2}, "lone client", false},
		"most, by the p99, reached": {map[string]float64{"g@64": 10}, "at half the peak rate", true},
		"most, by the p99, beyond":  {map[string]float64{"g@64": 11}, "at half the peak rate", false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.met, about(t, measured(c.rates).findings(), c.start).met())
		})
	}
}

func TestMedian(t *testing.T) {
	require.Zero(t, median([]float64{}))
	require.InDelta(t, 3, median([]float64{9, 3, 1}), 0)
	require.InDelta(t, 4, median([]float64{9, 3, 1, 5}), 0)
	unsorted := []int64{3, 1, 2}
	require.EqualValues(t, 2, median(unsorted))
	require.Equal(t, []int64{3, 1, 2}, unsorted)
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for want, x := range map[string]float64{"0": 0, "0.123": 0.1234, "1.6": 1.6, "12.3": 12.34, "100": 99.96, "123": 123.4, "1,235": 1234.5, "1,234,567": 1234567} {
		require.Equal(t, want, significant(x))
	}
	require.Equal(t, "0.345", milliseconds(345*time.Microsecond))
}

func TestGrowthIsJudged(t *testing.T) {
	found := &growthResults{
		filled: []filled{
			{version: 7, ratios: []float64{0.8, 0.9, 0.86}, list: latencies{P99: 5 * time.Millisecond}, ready: []time.Duration{300 * time.Millisecond}},
			{version: 4, ratios: []float64{0.4}, list: latencies{P99: 6 * time.Millisecond}, ready: []time.Duration{301 * time.Millisecond}},
		},
		soak: soak{measurement{Peak: 150 << 20}, [2]int64{100 << 20, 111 << 20}},
	}
	var met []bool
	findings := found.findings(options{events: 5_000_000, soak: 2_000_000})
	for _, f := range findings {
		met = append(met, f.met())
	}
	require.Equal(t, []bool{true, false, true, true, false, false, true, false}, met)
	require.Contains(t, findings[0].about, "5,000,000 events stored")
}
