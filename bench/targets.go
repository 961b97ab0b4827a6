package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// finding is a figure of each round that has something to reach.
type finding struct {
	about  string
	target string // in words
	bound  float64
	least  bool // the bound is the least that will do, else the most
	values []float64
	format func(float64) string
	remark string
}

// number is what has a median here.
type number interface{ ~int64 | ~float64 }

// met says whether the median of the rounds is what it should be.
func (f finding) met() bool {
	if f.least {
		return median(f.values) >= f.bound
	}
	return median(f.values) <= f.bound
}

// median returns the middle one of the values, or what is half-way between the
// two in the middle; 0 for none.
func median[T number](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// writeFindings writes the table of targets. A figure that was not measured is
// there, too.
func writeFindings(w *strings.Builder, findings []finding) {
	fmt.Fprintf(w, "\n**Targets**\n\n| | measured | min–max | target | met |\n|---|---|---|---|---|\n")
	for _, f := range findings {
		measured, span, met := "not measured", "–", "–"
		if len(f.values) > 0 {
			measured = f.format(median(f.values)) + f.remark
			if len(f.values) > 1 {
				span = f.format(slices.Min(f.values)) + " – " + f.format(slices.Max(f.values))
			}
			met = "no"
			if f.met() {
				met = "yes"
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", f.about, measured, span, f.target, met)
	}
}

// ratio divides two figures of one round.
type ratio struct {
	about string
	bound float64
	least bool
	of    func(roundResults) (dividend, divisor float64)
}

// ratios are what the comparison has to reach.
func ratios() []ratio {
	return []ratio{
		{"single events, 64 connections, FULL, against the empty handler", 0.45, true, rates("c@64", "a@64")},
		{"single events, 64 connections, FULL, against the naive endpoint", 6, true, rates("c@64", "b@64")},
		{fmt.Sprintf("batches of %d, 8 connections, events/s against the raw loop into all tables", batchEvents), 0.9, true, rates("d@8", letterFound)},
		{"the same against the raw loop into the table of events alone", 0.9, true, rates("d@8", letterRaw)},
		{"memstore, single events, 64 connections, against the empty handler", 0.75, true, rates("f@64", "a@64")},
		{"lone client, latency p50 against one bare write and sync", 1.6, false,
			againstSync("c@1", func(l latencies) time.Duration { return l.P50 })},
		{"at half the peak rate, 64 connections, latency p99 against one bare write and sync", 20, false,
			againstSync("g@64", func(l latencies) time.Duration { return l.P99 })},
	}
}

// rates are those of two tasks.
func rates(dividend, divisor string) func(roundResults) (float64, float64) {
	return func(r roundResults) (float64, float64) { return r.by[dividend].Rate, r.by[divisor].Rate }
}

// againstSync are the latency of a task and the time of a bare write and sync.
func againstSync(name string, of func(latencies) time.Duration) func(roundResults) (float64, float64) {
	return func(r roundResults) (float64, float64) { return float64(of(r.by[name].Latency)), float64(r.sync) }
}

// findings divides within each round, where the machine was the same for both,
// and never medians by each other.
func (found *results) findings() []finding {
	var all []finding
	for _, ratio := range ratios() {
		f := finding{
			about: ratio.about, bound: ratio.bound, least: ratio.least,
			target: "≤ " + strconv.FormatFloat(ratio.bound, 'g', -1, 64),
			format: significant,
		}
		if f.least {
			f.target = strings.Replace(f.target, "≤", "≥", 1)
		}
		for _, r := range found.rounds {
			if dividend, divisor := ratio.of(r); dividend > 0 && divisor > 0 {
				f.values = append(f.values, dividend/divisor)
			}
		}
		all = append(all, f)
	}
	return all
}

// medianOf returns the median over the rounds of a figure of one task.
func medianOf[T number](found *results, name string, of func(measurement) T) T {
	var values []T
	for _, r := range found.rounds {
		if m, ok := r.by[name]; ok {
			values = append(values, of(m))
		}
	}
	return median(values)
}
