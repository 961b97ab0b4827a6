package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// usage is what a process has used of the machine. Memory is in bytes, 0 where
// it is not known.
type usage struct {
	cpu      time.Duration
	peak     int64
	resident int64
}

// measurement is what came out of one task in one round.
type measurement struct {
	outcome
	CPU  time.Duration // of the server while the load lasted, user and system
	Peak int64         // of the server's memory, in bytes; 0 where it is not known
}

// cpuPer100k is the CPU time that 100,000 events took, in seconds.
func (m measurement) cpuPer100k() float64 {
	if m.Acknowledged.Events == 0 {
		return 0
	}
	return m.CPU.Seconds() * 1e5 / float64(m.Acknowledged.Events)
}

// workshop is where measurements are made.
type workshop struct {
	*program
	folder  string // a folder of our own, on the disk that is measured
	seed    uint64
	version int // of the references
	warmUp  time.Duration
	time    time.Duration

	stream uint64 // of the last load
}

// openWorkshop makes the folder. An error that is about the place is a
// *usageError.
func (p *program) openWorkshop(o options) (*workshop, error) {
	folder, err := os.MkdirTemp(o.dir, "chargeingest-bench-")
	if err != nil {
		return nil, usagef("-dir: %w", err)
	}
	name, inMemory, err := p.fileSystem(folder)
	if err == nil && inMemory {
		err = usagef("%s is on %s, where a sync costs nothing: give -dir a folder on a real disk", filepath.Dir(folder), name)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &workshop{
		program: p, folder: folder, seed: o.seed, version: o.version,
		warmUp: min(o.time/5, 500*time.Millisecond), time: o.time,
	}, nil
}

// close removes all that was made.
func (w *workshop) close() error {
	return os.RemoveAll(w.folder) //nolint:gosec // we made it
}

// database returns the path for one database, and what removes it with all that
// is beside it.
func (w *workshop) database() (path string, remove func() error, err error) {
	folder, err := os.MkdirTemp(w.folder, "db-")
	remove = func() error {
		return os.RemoveAll(folder) //nolint:gosec // we made it
	}
	return filepath.Join(folder, "charges.db"), remove, err
}

// measure measures a task with a database of its own, checks what was stored
// and removes it. The rate is in requests a second, 0 for as fast as it goes.
func (w *workshop) measure(ctx context.Context, t task, profile string, rate float64) (m measurement, err error) {
	path, remove, err := w.database()
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if t.serve == "" {
		return w.measureRaw(ctx, path, t.entries)
	}
	s, err := w.startServer(ctx, serverSpec{Serve: t.serve, Database: path, Profile: profile, Queue: t.queue()})
	if err != nil {
		return m, err
	}
	defer s.abandon()
	spec := loadSpec{Send: sendEvents, Connections: t.conns, WarmUp: w.warmUp, Time: w.time, Rate: rate, Dripping: t.dripping}
	if t.batches {
		spec.Send, spec.Batch = sendBatches, batchEvents
	}
	if m, err = w.load(ctx, s, spec); err != nil {
		return m, err
	}
	var last served
	if err := s.stop(&last); err != nil {
		return m, err
	}
	m.atExit(s.child)
	switch t.serve {
	case serveMemory:
		err = checkStored(last.Stored, m.Acknowledged)
	case serveNaive, serveSQLite:
		err = verifyDatabase(ctx, path, m.Acknowledged)
	}
	return m, err
}

// server is a server child that listens.
type server struct {
	*child
	serving
}

func (w *workshop) startServer(ctx context.Context, spec serverSpec) (*server, error) {
	c, err := w.start(ctx, roleServer, spec)
	if err != nil {
		return nil, err
	}
	s := &server{child: c}
	return s, c.receive(&s.serving)
}

// load sends events to a server, with all that is the same for every load, and
// measures what that takes of the server.
func (w *workshop) load(ctx context.Context, s *server, spec loadSpec) (m measurement, err error) {
	w.stream++
	spec.Address, spec.Seed, spec.Version, spec.Stream = s.Address, w.seed, w.version, w.stream
	// One thread, so that the server has the rest of the machine.
	c, err := w.start(ctx, roleLoad, spec, "GOMAXPROCS=1")
	if err != nil {
		return m, err
	}
	defer c.abandon()
	if m, err = c.work(s.child); err != nil {
		return m, errors.Join(err, s.complaint())
	}
	return m, c.stop(nil)
}

// measureRaw measures the raw loop.
func (w *workshop) measureRaw(ctx context.Context, path string, entries bool) (m measurement, err error) {
	w.stream++
	c, err := w.start(ctx, roleRaw, rawSpec{path, w.warmUp, w.time, w.seed, w.stream, w.version, entries})
	if err != nil {
		return m, err
	}
	defer c.abandon()
	if m, err = c.work(c); err != nil {
		return m, err
	}
	if err := c.stop(nil); err != nil {
		return m, err
	}
	m.atExit(c)
	return m, verifyDatabase(ctx, path, m.Acknowledged)
}

// work lets a child that is ready do its work, and looks at what the observed
// one uses meanwhile.
func (c *child) work(observed *child) (m measurement, err error) {
	var ready bool
	if err := c.receive(&ready); err != nil {
		return m, err
	}
	before, err := usageOf(observed.pid())
	unsupported := errors.Is(err, errors.ErrUnsupported)
	if err != nil && !unsupported {
		return m, err
	}
	if err := c.send(true); err != nil {
		return m, c.failed(err)
	}
	if err := c.receive(&m.outcome); err != nil {
		return m, err
	}
	if unsupported {
		m.CPU = -1 // see atExit
		return m, nil
	}
	after, err := usageOf(observed.pid())
	m.CPU, m.Peak = after.cpu-before.cpu, after.peak
	return m, err
}

// atExit takes the CPU time of all of the process's life where the system does
// not tell that of a part.
func (m *measurement) atExit(c *child) {
	if m.CPU < 0 {
		m.CPU = c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
	}
}

// complaint is what a server that still runs has written to standard error.
func (c *child) complaint() error {
	if text := c.log.String(); text != "" {
		return fmt.Errorf("%s process: %s", c.role, text)
	}
	return nil
}
