package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func measured(rounds ...map[string]float64) *results {
	found := &results{machine: "a machine"}
	for _, rates := range rounds {
		for _, r := range append(compareRows(), syncRow()) {
			if rate, ok := rates[r.name()]; ok {
				found.add(r, measurement{outcome: outcome{
					Rate: rate, Latency: latencies{P50: time.Duration(rate * float64(time.Millisecond))},
				}})
			}
		}
	}
	return found
}

func TestRatiosAreWithinRounds(t *testing.T) {
	found := measured(
		map[string]float64{"c@64": 60, "a@64": 100},
		map[string]float64{"c@64": 19, "a@64": 50},
		map[string]float64{"c@64": 40, "a@64": 200},
	)
	c := compareTargets(found)[0]
	require.InDeltaSlice(t, []float64{0.6, 0.38, 0.2}, c.values, 1e-9)
	require.False(t, c.met())

	report := found.report(options{rounds: 3, time: time.Second, seed: 1}, compareTargets(found))
	require.Contains(t, report, "Measured on a machine.\nRounds: 3 of 1s, seed 1.")
	require.Contains(t, report, "| a: empty net/http handler | 64 | 100 | 100 | – |")
	require.Contains(t, report, "single events to the empty handler | 0.38 | 0.2–0.6 | ≥ 0.4 | no |")
	require.NotContains(t, report, "written by hand", "not measured")
}

func TestTargets(t *testing.T) {
	for name, c := range map[string]struct {
		rates map[string]float64
		index int
		met   bool
	}{
		"at a lower bound":  {map[string]float64{"c@64": 6, "b@64": 1}, 1, true},
		"below it":          {map[string]float64{"c@64": 5.99, "b@64": 1}, 1, false},
		"at an upper bound": {map[string]float64{"c@1": 1.6, "sync": 1}, 5, true},
		"above it":          {map[string]float64{"c@1": 1.61, "sync": 1}, 5, false},
		"not measured":      {map[string]float64{"c@1": 1}, 5, true},
		"of rows without @": {map[string]float64{"d@8": 8, "e": 10}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.met, compareTargets(measured(c.rates))[c.index].met())
		})
	}
}

func TestTargetsNameRows(t *testing.T) {
	found := &results{}
	w := &workshop{}
	rows := append(append(compareRows(), postgresRows()...), syncRow())
	for _, w.uuid = range []int{7, 4} {
		rows = append(rows, w.growthRow("empty", "", 64), w.growthRow("full", "", 64), w.growthRow("list", "", 1))
	}
	for _, r := range rows {
		found.add(r, measurement{outcome: outcome{Rate: 1, Latency: latencies{P50: 1, P99: 1}}})
	}
	for _, targets := range [][]comparison{compareTargets(found), postgresTargets(found), growthTargets(found)} {
		for _, c := range targets {
			require.Len(t, c.values, 1, c.about)
		}
	}
}

func TestMedian(t *testing.T) {
	require.Zero(t, median(nil))
	unsorted := []float64{9, 3, 1}
	require.InDelta(t, 3, median(unsorted), 0)
	require.Equal(t, []float64{9, 3, 1}, unsorted)
	require.InDelta(t, 4, median([]float64{9, 3, 1, 5}), 0)
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	for want, x := range map[string]float64{
		"0": 0, "0.123": 0.1234, "1.6": 1.6, "12.3": 12.34, "100": 99.96, "123": 123.4, "1,235": 1234.5, "1,234,567": 1234567,
	} {
		require.Equal(t, want, significant(x))
	}
}
