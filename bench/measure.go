package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

type measurement struct {
	outcome
	CPU  time.Duration // 0 if unknown
	Peak int64         // resident memory in bytes; 0 if unknown
}

func (m *measurement) merge(other measurement) {
	m.Acknowledged.merge(other.Acknowledged)
	m.Rate += other.Rate
	m.CPU += other.CPU
	m.Peak = max(m.Peak, other.Peak)
	m.Latency.P50 = max(m.Latency.P50, other.Latency.P50)
	m.Latency.P99 = max(m.Latency.P99, other.Latency.P99)
	m.Latency.P999 = max(m.Latency.P999, other.Latency.P999)
}

func (m measurement) cpuPer100k() float64 {
	if m.Acknowledged.Events == 0 {
		return 0
	}
	return m.CPU.Seconds() * 1e5 / float64(m.Acknowledged.Events)
}

type workshop struct {
	*program
	dir      string
	postgres string // server address
	seed     uint64
	uuid     int // version of the references
	duration time.Duration
	events   int64 // of the relay
	streams  atomic.Uint64
}

func (p *program) openWorkshop(o options) (*workshop, error) {
	dir, err := os.MkdirTemp(o.dir, "chargeingest-bench-")
	if err != nil {
		return nil, usagef("-dir: %w", err)
	}
	name, inMemory, err := p.fileSystem(dir)
	if err == nil && inMemory {
		err = usagef("%s is on %s, which has nothing to sync: set -dir to a directory on a disk", filepath.Dir(dir), name)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &workshop{program: p, dir: dir, seed: o.seed, uuid: 4, duration: o.time, events: o.events}, nil
}

func (w *workshop) close() error { return os.RemoveAll(w.dir) }

func (w *workshop) workload() workload {
	return workload{
		Seed: w.seed, Stream: w.streams.Add(1), UUID: w.uuid,
		WarmUp: min(w.duration/5, 500*time.Millisecond), Time: w.duration,
	}
}

func (w *workshop) measure(ctx context.Context, r row) (m measurement, err error) {
	db, err := w.newDatabase(ctx, r.backend)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, db.remove()) }()
	if !r.relayed {
		return w.measureIn(ctx, r, db, "")
	}
	d, err := w.startDestination(ctx)
	if err != nil {
		return m, err
	}
	defer d.kill()
	if m, err = w.measureIn(ctx, r, db, d.address); err != nil {
		return m, err
	}
	var received tally
	if err := d.stop(&received); err != nil {
		return m, err
	}
	return m, checkReceived(received, m.Acknowledged)
}

// destination is the address of a relay's.
func (w *workshop) measureIn(ctx context.Context, r row, db *database, destination string) (m measurement, err error) {
	switch {
	case r.conns > 0:
		return w.measureServers(ctx, r, db, destination)
	case r.relayed:
		m, err = w.run(ctx, roleRelay, relaySpec{
			workload: w.workload(), Database: db.address, Destination: destination, Events: int(w.events),
			SinkOnly: r.backend == backendRelaySink,
		}, nil)
	default:
		m, err = w.run(ctx, roleWriter, writerSpec{
			workload: w.workload(), Backend: r.backend, Database: db.address, Callers: max(1, r.callers), Batch: max(1, r.batch),
		}, nil)
	}
	if err != nil {
		return m, err
	}
	return m, db.verify(ctx, m.Acknowledged)
}

func (w *workshop) measureServers(ctx context.Context, r row, db *database, destination string) (m measurement, err error) {
	servers := make([]*server, max(1, r.processes))
	for i := range servers {
		if servers[i], err = w.startServer(ctx, r, db.address, destination); err != nil {
			return m, err
		}
		defer servers[i].kill()
	}
	parts := make([]measurement, len(servers))
	spec := loadSpec{Connections: r.conns / len(servers), Batch: r.batch}
	loads, loadCtx := errgroup.WithContext(ctx)
	for i, s := range servers {
		loads.Go(func() (err error) {
			spec := spec
			spec.workload = w.workload()
			spec.Rate = r.rate
			parts[i], err = w.load(loadCtx, s, spec)
			return err
		})
	}
	if err := loads.Wait(); err != nil {
		return m, err
	}
	var held tally
	for i, s := range servers {
		var inMemory tally
		if err := s.stop(&inMemory); err != nil {
			return m, err
		}
		held.merge(inMemory)
		m.merge(parts[i])
	}
	if r.backend == backendMemory {
		return m, checkStored(held, m.Acknowledged)
	}
	return m, db.verify(ctx, m.Acknowledged)
}

type database struct {
	address string // a path or a URL
	verify  func(ctx context.Context, acknowledged tally) error
	remove  func() error
}

// newDatabase reserves an address. Servers or writer create the database.
func (w *workshop) newDatabase(ctx context.Context, backend string) (*database, error) {
	switch backend {
	case backendPostgres, backendPostgresNaive, backendPostgresCalls, backendPostgresInsert:
		return newPostgresDatabase(ctx, w.postgres)
	}
	dir, err := os.MkdirTemp(w.dir, "db-")
	path := filepath.Join(dir, "charges.db")
	verify := func(ctx context.Context, acknowledged tally) error { return verifySQLite(ctx, path, acknowledged) }
	if backend == backendEmpty || backend == backendMemory {
		verify = func(context.Context, tally) error { return nil }
	}
	return &database{path, verify, func() error { return os.RemoveAll(dir) }}, err
}

type server struct {
	*process
	address string
}

func (w *workshop) startServer(ctx context.Context, r row, database, destination string) (*server, error) {
	// Each connection has at most one request in the queue.
	queue := max(20_000, r.conns*r.batch)
	p, err := w.start(ctx, roleServer, serverSpec{
		Backend: r.backend, Database: database, MaxQueuedEvents: queue, Inspected: r.inspected, Destination: destination,
	})
	if err != nil {
		return nil, err
	}
	s := &server{process: p}
	return s, p.receive(&s.address)
}

func (w *workshop) load(ctx context.Context, s *server, spec loadSpec) (measurement, error) {
	spec.Address = s.address
	m, err := w.run(ctx, roleLoad, spec, s.process)
	if text := s.log.String(); err != nil && text != "" {
		err = fmt.Errorf("%w; server process: %s", err, text)
	}
	return m, err
}

// run measures the observed process or, if that is nil, the new one.
func (w *workshop) run(ctx context.Context, role string, spec any, observed *process) (m measurement, err error) {
	p, err := w.start(ctx, role, spec)
	if err != nil {
		return m, err
	}
	defer p.kill()
	if observed == nil {
		observed = p
	}
	if err := p.receive(new(ready)); err != nil {
		return m, err
	}
	before, _, err := usage(observed.pid())
	if err != nil {
		return m, err
	}
	if err := p.send(ready{}); err != nil {
		return m, p.failed(err)
	}
	if err := p.receive(&m.outcome); err != nil {
		return m, err
	}
	after, peak, err := usage(observed.pid())
	if err != nil {
		return m, err
	}
	m.CPU, m.Peak = after-before, peak
	return m, p.stop(nil)
}
