package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report writes the report of the comparison.
func (found *results) report(w *strings.Builder, place string, o options) {
	fmt.Fprintf(w, "Measured on %s; one bare write of %d bytes and fsync took %s ms (median).\n", place, syncBytes, milliseconds(found.sync()))
	fmt.Fprintf(w, "%s of %v, seed %d, references UUIDv%d. Figures are medians of the rounds.\n\n", rounds(o.rounds), o.time, o.seed, o.version)
	fmt.Fprintf(w, "| | connections | events/s | p50 ms | p99 ms | p99.9 ms | CPU s per 100,000 events | peak RSS MB |\n")
	fmt.Fprintf(w, "|---|--:|--:|--:|--:|--:|--:|--:|\n")
	tasks := slices.Clone(found.tasks)
	slices.SortStableFunc(tasks, func(a, b task) int {
		if a.letter != b.letter {
			return strings.Compare(a.letter, b.letter)
		}
		return a.conns - b.conns
	})
	for _, t := range tasks {
		found.writeRow(w, t)
	}
	fmt.Fprintf(w, "\nLatency is that of a request: of %d events in d, of one in the others; in g, from the moment that it was due;\n"+
		"in e and h that of a transaction of %d rows. CPU and memory are those of the server, or of the loop in e and h.\n"+
		"The queue of sqlitestore is as large as by default, but in d over more than 40 connections, which has room for all.\n", batchEvents, rawTransaction)
	writeFindings(w, found.findings())
}

func (found *results) writeRow(w *strings.Builder, t task) {
	name := t.String()
	latency := func(of func(latencies) time.Duration) string {
		return milliseconds(medianOf(found, name, func(m measurement) time.Duration { return of(m.Latency) }))
	}
	connections, peak := strconv.Itoa(t.conns), "–"
	if t.serve == "" {
		connections = "–"
	}
	if bytes := medianOf(found, name, func(m measurement) int64 { return m.Peak }); bytes > 0 {
		peak = megabytes(float64(bytes))
	}
	fmt.Fprintf(w, "| %s: %s | %s | %s | %s | %s | %s | %s | %s |\n", t.letter, t.about, connections,
		thousands(medianOf(found, name, func(m measurement) float64 { return m.Rate })),
		latency(func(l latencies) time.Duration { return l.P50 }),
		latency(func(l latencies) time.Duration { return l.P99 }),
		latency(func(l latencies) time.Duration { return l.P999 }),
		significant(medianOf(found, name, measurement.cpuPer100k)), peak)
}

// sync is the median over the rounds.
func (found *results) sync() time.Duration {
	var times []time.Duration
	for _, r := range found.rounds {
		times = append(times, r.sync)
	}
	return median(times)
}

// publish writes a report to standard output, and to a file where one was asked
// for.
func (p *program) publish(o options, report string) error {
	if _, err := io.WriteString(p.stdout, report); err != nil {
		return err
	}
	if o.report == "" {
		return nil
	}
	return os.WriteFile(o.report, []byte(report), 0o644) //nolint:gosec // a report is for everybody to read
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return strconv.Itoa(n) + " rounds"
}

// significant writes a figure with three digits, and those before the point.
func significant(x float64) string {
	if x >= 100 {
		return thousands(x)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

// milliseconds writes a time without its unit.
func milliseconds(d time.Duration) string {
	return significant(float64(d) / float64(time.Millisecond))
}

// megabytes writes bytes without their unit.
func megabytes(bytes float64) string { return thousands(bytes / (1 << 20)) }

// thousands writes a whole number in groups of three digits.
func thousands(x float64) string {
	text := strconv.FormatInt(int64(x+0.5), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
