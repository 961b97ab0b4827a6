package main

import (
	"fmt"
	"strings"
	"time"
)

// growthResults are all that the long form has measured.
type growthResults struct {
	place  string
	sync   time.Duration
	filled []filled
	soak   soak
}

// report returns the report of the long form.
func (found *growthResults) report(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s; one bare write of %d bytes and fsync took %s ms (median). Seed %d.\n\n",
		found.place, syncBytes, milliseconds(found.sync), o.seed)
	fmt.Fprintf(&b, "Filling, batches of %d over %d connections, events/s of every %s:\n\n", batchEvents, fillConnections, thousands(fillStep))
	for _, f := range found.filled {
		var rates []string
		for _, rate := range f.fill {
			rates = append(rates, thousands(rate))
		}
		fmt.Fprintf(&b, "- UUIDv%d: %s; the database had %s MB then\n", f.version, strings.Join(rates, ", "), megabytes(float64(f.bytes)))
	}
	fmt.Fprintf(&b, "\nSingle events over %d connections, events/s, medians of %s of %v, an empty database and the filled one in turn:\n\n",
		growthConns, rounds(o.rounds), o.time)
	for _, f := range found.filled {
		fmt.Fprintf(&b, "- UUIDv%d: %s on the empty one, %s on the filled one\n", f.version, thousands(median(f.empty)), thousands(median(f.full)))
	}
	s := found.soak
	fmt.Fprintf(&b, "\nThe long run: %s events at %s events/s, latency p50 %s, p99 %s, p99.9 %s, at most %s ms.\n", thousands(float64(s.Acknowledged.Events)),
		thousands(s.Rate), milliseconds(s.Latency.P50), milliseconds(s.Latency.P99), milliseconds(s.Latency.P999), milliseconds(s.Latency.Max))
	writeFindings(&b, found.findings(o))
	return b.String()
}

// findings are what the long form has to reach.
func (found *growthResults) findings(o options) []finding {
	stored := thousands(float64(o.events)) + " events stored"
	inMilliseconds := func(x float64) string { return significant(x) + " ms" }
	inMegabytes := func(x float64) string { return megabytes(x) + " MB" }
	var all []finding
	for _, f := range found.filled {
		bound := map[int]float64{7: 0.85, 4: 0.5}[f.version]
		all = append(all, finding{
			about:  fmt.Sprintf("single events, 64 connections, with %s against an empty database, references UUIDv%d", stored, f.version),
			target: fmt.Sprintf("≥ %g", bound), bound: bound, least: true, values: f.ratios, format: significant,
		})
	}
	for _, f := range found.filled {
		all = append(all, finding{
			about:  fmt.Sprintf("first page of 50 of a customer by its reference, %s (UUIDv%d), p99", stored, f.version),
			target: "≤ 5 ms", bound: 5, values: asMilliseconds(f.list.P99), format: inMilliseconds,
		}, finding{
			about:  fmt.Sprintf("start of a server on a cleanly closed database, %s (UUIDv%d), until its first answer", stored, f.version),
			target: "≤ 300 ms", bound: 300, values: asMilliseconds(f.ready...), format: inMilliseconds,
			remark: fmt.Sprintf("; sqlitestore.Open alone %s ms", milliseconds(median(f.opened))),
		})
	}
	peak := finding{
		about:  fmt.Sprintf("peak RSS of the server through %s single events, 64 connections", thousands(float64(o.soak))),
		target: "≤ 200 MB", bound: 200 << 20, format: inMegabytes,
	}
	flat := finding{
		about:  "the most RSS of the second half of that against the first half",
		target: "≤ 1.1", bound: 1.1, format: significant,
	}
	if first, second := found.soak.halves[0], found.soak.halves[1]; first > 0 && second > 0 {
		peak.values = []float64{float64(max(found.soak.Peak, first, second))}
		flat.values = []float64{float64(second) / float64(first)}
		flat.remark = fmt.Sprintf("; %s and %s MB", megabytes(float64(first)), megabytes(float64(second)))
	}
	return append(all, peak, flat)
}

func asMilliseconds(times ...time.Duration) []float64 {
	var values []float64
	for _, d := range times {
		values = append(values, float64(d)/float64(time.Millisecond))
	}
	return values
}
