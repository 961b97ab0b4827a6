package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// results are what was measured, by task and round.
type results struct {
	tasks  []task
	rounds []roundResults
}

// roundResults are those of one round.
type roundResults struct {
	sync time.Duration          // median of a bare write and sync
	by   map[string]measurement // by the task's String
}

func (r roundResults) has(name string) bool {
	_, ok := r.by[name]
	return ok
}

// compare is the command without a name.
func (p *program) compare(ctx context.Context, args []string) (err error) {
	o, err := parseCompare(args, p.stdout)
	if err != nil {
		return err
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o750); err != nil {
			return usagef("-profile: %w", err)
		}
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	found := &results{tasks: o.tasks}
	for i := range o.rounds {
		measured, err := w.round(ctx, o, i+1)
		if err != nil {
			return err
		}
		found.rounds = append(found.rounds, measured)
	}
	place, err := w.place()
	if err != nil {
		return err
	}
	var report strings.Builder
	found.report(&report, place, o)
	return errors.Join(p.publish(o, report.String()), o.writeChart(found, place))
}

// round measures every task once.
func (w *workshop) round(ctx context.Context, o options, number int) (roundResults, error) {
	found := roundResults{by: make(map[string]measurement)}
	// Before the task that has most to do with it.
	syncAt := max(0, slices.IndexFunc(o.tasks, func(t task) bool { return t.letter == letterSingle && t.conns == 1 }))
	for i, t := range o.tasks {
		if i == syncAt {
			var err error
			if found.sync, err = syncMedian(w.folder); err != nil {
				return found, err
			}
			w.progress("round %d: a write and sync takes %s ms", number, milliseconds(found.sync))
		}
		rate := 0.0
		if t.paced {
			peak := found.by[task{variant{letter: letterSingle, serve: serveSQLite}, t.conns}.String()].Rate
			rate = max(1, peak/2)
		}
		m, err := w.measure(ctx, t, o.profileOf(t, number), rate)
		if err != nil {
			return found, fmt.Errorf("round %d, %s: %w", number, t, err)
		}
		found.by[t.String()] = m
		w.progress("round %d: %-5s %s events/s, p50 %s, p99 %s ms", number, t, thousands(m.Rate), milliseconds(m.Latency.P50), milliseconds(m.Latency.P99))
	}
	return found, nil
}

// profileOf returns where the profile of a task goes, or nothing.
func (o options) profileOf(t task, number int) string {
	switch t.letter {
	case letterSingle, letterBatch, letterMemory, letterPaced:
		if o.profile != "" {
			return filepath.Join(o.profile, fmt.Sprintf("%s-round%d.pprof", t, number))
		}
	}
	return ""
}

// progress tells whoever waits how far it is.
func (w *workshop) progress(format string, args ...any) {
	// There is nobody to tell where standard error is gone.
	_, _ = fmt.Fprintf(w.stderr, format+"\n", args...)
}
