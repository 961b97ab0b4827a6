package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

type results struct {
	machine  string
	rows     []row
	measured map[string][]measurement // by row
}

func (r *results) add(added row, m measurement) {
	if r.measured == nil {
		r.measured = make(map[string][]measurement)
	}
	name := added.name()
	if r.measured[name] == nil {
		r.rows = append(r.rows, added)
	}
	r.measured[name] = append(r.measured[name], m)
}

func rate(m measurement) float64 { return m.Rate }
func p50(m measurement) float64  { return toMilliseconds(m.Latency.P50) }
func p99(m measurement) float64  { return toMilliseconds(m.Latency.P99) }

func (r *results) values(name string, figure func(measurement) float64) []float64 {
	var values []float64
	for _, m := range r.measured[name] {
		values = append(values, figure(m))
	}
	return values
}

// ratios divides within rounds, in which both rows saw the same machine.
func (r *results) ratios(dividend, divisor string, figure func(measurement) float64) []float64 {
	return divided(r.values(dividend, figure), r.values(divisor, figure))
}

func divided(dividends, divisors []float64) (ratios []float64) {
	for i := range min(len(dividends), len(divisors)) {
		if dividends[i] > 0 && divisors[i] > 0 {
			ratios = append(ratios, dividends[i]/divisors[i])
		}
	}
	return ratios
}

type comparison struct {
	about  string
	values []float64
	target float64
	atMost bool // an upper bound
	unit   string
}

func (r *results) ratio(about, dividend, divisor string, target float64) comparison {
	return comparison{
		about: dividend + " / " + divisor + ": " + about, values: r.ratios(dividend, divisor, rate), target: target,
	}
}

func (c comparison) met() bool {
	if c.atMost {
		return median(c.values) <= c.target
	}
	return median(c.values) >= c.target
}

func (r *results) report(o options, comparisons []comparison) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\nRounds: %d of %v, seed %d. Figures are medians of the rounds.\n\n",
		r.machine, o.rounds, o.time, o.seed)
	b.WriteString("| | connections | events/s | p50 ms | p99 ms | p99.9 ms | CPU s per 100,000 events | peak RSS MB |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|\n")
	rows := slices.SortedFunc(slices.Values(r.rows), func(a, b row) int {
		return cmp.Or(strings.Compare(a.letter, b.letter), a.conns-b.conns)
	})
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s: %s | %s", row.letter, row.about, orDash(float64(row.conns), thousands))
		for _, column := range []struct {
			figure func(measurement) float64
			format func(float64) string
		}{
			{rate, thousands},
			{p50, significant},
			{p99, significant},
			{func(m measurement) float64 { return toMilliseconds(m.Latency.P999) }, significant},
			{measurement.cpuPer100k, significant},
			{func(m measurement) float64 { return float64(m.Peak) / (1 << 20) }, thousands},
		} {
			fmt.Fprintf(&b, " | %s", orDash(median(r.values(row.name(), column.figure)), column.format))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\nRows with connections: latency of a request; CPU and memory of the server. Other rows: latency of a\n" +
		"transaction, or of a batch that a relay sends; CPU and memory of the process that writes or sends. Of several servers, the slowest and the largest count.\n")
	writeComparisons(&b, comparisons)
	return b.String()
}

func writeComparisons(b *strings.Builder, comparisons []comparison) {
	comparisons = slices.DeleteFunc(comparisons, func(c comparison) bool { return len(c.values) == 0 })
	if len(comparisons) == 0 {
		return
	}
	b.WriteString("\n| | measured | min–max | target | met |\n|---|---|---|---|---|\n")
	for _, c := range comparisons {
		bound, met := "≥", "no"
		if c.atMost {
			bound = "≤"
		}
		if c.met() {
			met = "yes"
		}
		fmt.Fprintf(b, "| %s | %s%s | %s–%s | %s %g%s | %s |\n", c.about, significant(median(c.values)), c.unit,
			significant(slices.Min(c.values)), significant(slices.Max(c.values)), bound, c.target, c.unit, met)
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func orDash(x float64, format func(float64) string) string {
	if x == 0 {
		return "–"
	}
	return format(x)
}

func toMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func significant(x float64) string {
	if x >= 100 {
		return thousands(x)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func thousands(x float64) string {
	text := strconv.FormatInt(int64(x+0.5), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
