package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

func (p *program) compare(ctx context.Context, args []string) (err error) {
	var o options
	flags := o.flags()
	flags.Int64Var(&o.events, "events", 100_000, "number of events of the rows q and r")
	flags.StringVar(&o.chart, "chart", "", "also write a bar chart, in SVG, to this `file`")
	help := fmt.Sprintf(compareHelp, batchEvents, relayBatch)
	if err := o.parseRowFlags(flags, args, help, compareRows(), p.stdout); err != nil {
		return err
	}
	if o.events < 1 {
		return usagef("-events: must be positive, but is %d", o.events)
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	found, err := w.measureRounds(ctx, o)
	if err != nil {
		return err
	}
	if o.chart != "" {
		chart, err := found.chart()
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.chart, chart, 0o644); err != nil { //nolint:gosec // a public document
			return err
		}
	}
	_, err = io.WriteString(p.stdout, found.report(o, compareTargets(found)))
	return err
}

func compareTargets(found *results) []comparison {
	return []comparison{
		found.ratio("single events to the empty handler", "c@64", "a@64", 0.4),
		found.ratio("single events to the endpoint written by hand", "c@64", "b@64", 6),
		found.ratio("batches to the INSERT loop, events table only", "d@8", "e", 0.8),
		found.ratio("memstore to the empty handler", "f@64", "a@64", 0.75),
		found.ratio("single events behind the inspector to those without", "n@64", "c@64", 0.95),
		{
			about:  "c@1 / sync: p50 of a single client to one write and fsync",
			values: found.ratios("c@1", "sync", p50), target: 1.6, atMost: true,
		},
		{
			about:  "s@64 / sync: p99 at half the rate to p50 of one write and fsync",
			values: divided(found.values("s@64", p99), found.values("sync", p50)), target: 20, atMost: true,
		},
		found.ratio("single events with the relay running to those without", "p@64", "c@64", 0.85),
		{
			about:  "p@64 / c@64: p99 with the relay running to that without",
			values: found.ratios("p@64", "c@64", p99), target: 2, atMost: true,
		},
		found.ratio("relay that catches up to its sink alone", "q", "r", 0.8),
	}
}

func (w *workshop) measureRounds(ctx context.Context, o options) (*results, error) {
	found, err := w.newResults()
	if err != nil {
		return nil, err
	}
	for round := range o.rounds {
		if err := w.addSync(found, round); err != nil {
			return nil, err
		}
		for _, r := range o.rows {
			if r.halfRate {
				r.rate = found.values("c@64", rate)[round] / 2
			}
			if err := w.add(ctx, found, round, r); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

func (w *workshop) newResults() (*results, error) {
	machine, err := w.machine()
	return &results{machine: machine}, err
}

func (w *workshop) add(ctx context.Context, found *results, round int, r row) error {
	m, err := w.measure(ctx, r)
	if err != nil {
		return fmt.Errorf("round %d, %s: %w", round+1, r.name(), err)
	}
	w.addMeasured(found, round, r, m)
	return nil
}

func (w *workshop) addSync(found *results, round int) error {
	m, err := w.measureSync()
	if err == nil {
		w.addMeasured(found, round, syncRow(), m)
	}
	return err
}

func (w *workshop) addMeasured(found *results, round int, r row, m measurement) {
	found.add(r, m)
	w.logf("round %d: %-5s %s events/s, p50 %s, p99 %s ms",
		round+1, r.name(), orDash(m.Rate, thousands), significant(p50(m)), significant(p99(m)))
}
