package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	fillConnections   = 8
	fillStep          = 1_000_000 // events between two lines of progress
	growthConnections = 64
	listedPages       = 2000
)

func (p *program) growth(ctx context.Context, args []string) (err error) {
	var o options
	flags := o.flags()
	flags.Int64Var(&o.events, "events", 5_000_000, "number of events in the filled database")
	if err := o.parse(flags, args, growthHelp, p.stdout); err != nil {
		return err
	}
	if o.events < batchEvents {
		return usagef("-events: must be at least %d, but is %d", batchEvents, o.events)
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	found, err := w.newResults()
	if err != nil {
		return err
	}
	if err := w.addSync(found, 0); err != nil {
		return err
	}
	for _, version := range []int{7, 4} {
		w.uuid = version
		if err := w.grow(ctx, o, found); err != nil {
			return fmt.Errorf("references UUIDv%d: %w", version, err)
		}
	}
	_, err = io.WriteString(p.stdout, found.report(o, growthTargets(found)))
	return err
}

func (w *workshop) growthRow(name, about string, conns int) row {
	return row{
		letter: fmt.Sprintf("%s%d", name, w.uuid), about: fmt.Sprintf("%s, UUIDv%d", about, w.uuid),
		backend: backendSQLite, conns: conns,
	}
}

func (w *workshop) grow(ctx context.Context, o options, found *results) (err error) {
	db, err := w.newDatabase(ctx, backendSQLite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	s, err := w.startServer(ctx, singleEvents(), db.address, "")
	if err != nil {
		return err
	}
	defer s.kill()
	acknowledged, err := w.fill(ctx, s, o.events)
	if err != nil {
		return err
	}
	empty := w.growthRow("empty", "single events, empty database", growthConnections)
	full := w.growthRow("full", fmt.Sprintf("single events, %s stored", thousands(float64(o.events))), growthConnections)
	for round := range o.rounds {
		if err := w.add(ctx, found, round, empty); err != nil {
			return err
		}
		m, err := w.load(ctx, s, loadSpec{workload: w.workload(), Connections: full.conns})
		if err != nil {
			return err
		}
		acknowledged.merge(m.Acknowledged)
		w.addMeasured(found, round, full, m)
	}
	lists := loadSpec{workload: w.workload(), Connections: 1, List: o.events}
	lists.Requests = listedPages
	m, err := w.load(ctx, s, lists)
	if err != nil {
		return err
	}
	w.addMeasured(found, 0, w.growthRow("list", "first page of a customer (lists/s)", lists.Connections), m)
	if err := s.stop(new(tally)); err != nil {
		return err
	}
	w.logf("verifying %s events", thousands(float64(acknowledged.Events)))
	return db.verify(ctx, acknowledged)
}

func (w *workshop) fill(ctx context.Context, s *server, events int64) (tally, error) {
	var acknowledged tally
	for acknowledged.Events < events {
		spec := loadSpec{workload: w.workload(), Connections: fillConnections, Batch: batchEvents}
		left := min(fillStep, events-acknowledged.Events)
		spec.Requests = (left + batchEvents - 1) / batchEvents
		m, err := w.load(ctx, s, spec)
		if err != nil {
			return acknowledged, err
		}
		acknowledged.merge(m.Acknowledged)
		w.logf("UUIDv%d: %s events stored, %s events/s", w.uuid, thousands(float64(acknowledged.Events)), thousands(m.Rate))
	}
	return acknowledged, nil
}

func growthTargets(found *results) []comparison {
	var all []comparison
	for _, v := range []struct {
		uuid   int
		target float64
	}{{7, 0.95}, {4, 0.85}} {
		full, empty := fmt.Sprintf("full%d@64", v.uuid), fmt.Sprintf("empty%d@64", v.uuid)
		list := fmt.Sprintf("list%d@1", v.uuid)
		all = append(all, found.ratio("filled database to empty database", full, empty, v.target), comparison{
			about: list + ": p99", values: found.values(list, p99), target: 5, atMost: true, unit: " ms",
		})
	}
	return all
}
