package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/chargeingest/internal/pgtest"
)

const postgresAbout = `usage: bench postgres [options]

Measures pgstore on a PostgreSQL server that it starts itself from the machine's
binaries, with the settings that a new cluster has, synchronous_commit and fsync
on, in rounds:

  one process, and four, with pgstore behind the handler;
  the handler over a store as one writes it by hand: a transaction of its own for
  each request, on a connection of its own;
  pgstore called by as many goroutines as there are connections, without HTTP;
  a loop of the multi-row INSERT that pgstore makes, through pgx, without HTTP,
  with as many events a transaction as there are connections, and with 512.

Each measurement has new tables, and counts only if they hold exactly the events
that were acknowledged afterwards. The CPU time is that of the handlers, the
callers or the loop, without the server's.

options:
`

// postgresRows are what is measured in a round.
func postgresRows() []postgresRow {
	const conns = growthConns
	return []postgresRow{
		{name: "one transaction a request", serve: servePostgresNaive, processes: 1, conns: conns},
		{name: "pgstore, one process", serve: servePostgres, processes: 1, conns: conns},
		{name: "pgstore, 64 callers, no HTTP", callers: conns},
		{name: "raw INSERT loop, 64 a transaction", transaction: conns},
		{name: "pgstore, four processes", serve: servePostgres, processes: 4, conns: conns},
		{name: "raw INSERT loop, 512 a transaction", transaction: rawTransaction},
		{name: "pgstore, one process, a lone client", serve: servePostgres, processes: 1, conns: 1},
		{name: "pgstore, one process, 256 connections", serve: servePostgres, processes: 1, conns: 256},
	}
}

// postgresRow is one of them.
type postgresRow struct {
	name        string
	serve       string // empty without HTTP
	processes   int
	conns       int // of all processes together
	callers     int // of the store
	transaction int // events of one, of the loop
}

// postgresResults are the measurements, by row.
type postgresResults struct {
	place string
	sync  time.Duration
	by    map[string][]measurement
}

// postgres is the command of that name.
func (p *program) postgres(ctx context.Context, args []string) (err error) {
	var o options
	if err := parseFlags(o.common(3, 3*time.Second), args, postgresAbout, p.stdout); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	w.version = 4
	defer func() { err = errors.Join(err, w.close()) }()
	srv, err := pgtest.NewIn(ctx, o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Remove()) }()
	if err := srv.Start(ctx); err != nil {
		return err
	}
	found := postgresResults{by: make(map[string][]measurement)}
	if found.place, err = w.place(); err != nil {
		return err
	}
	if found.sync, err = syncMedian(w.folder); err != nil {
		return err
	}
	for i := range o.rounds {
		for _, row := range postgresRows() {
			m, err := w.measurePostgres(ctx, srv.Address(), row)
			if err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			found.by[row.name] = append(found.by[row.name], m)
			w.progress("round %d, %s: %s events/s", i+1, row.name, thousands(m.Rate))
		}
	}
	return p.publish(o, found.report(o))
}

// measurePostgres measures a row in tables of its own, verifies them and drops
// them.
func (w *workshop) measurePostgres(ctx context.Context, address string, row postgresRow) (m measurement, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return m, err
	}
	defer func() {
		_, dropped := conn.Exec(context.WithoutCancel(ctx), "DROP SCHEMA IF EXISTS "+benchSchema+" CASCADE")
		err = errors.Join(err, dropped, conn.Close(context.WithoutCancel(ctx)))
	}()
	// What the last one left behind is not to be cleaned up under this one.
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return m, err
	}
	if row.serve == "" {
		m, err = w.measurePostgresRaw(ctx, address, row)
	} else {
		m, err = w.measureProcesses(ctx, address, row)
	}
	if err != nil {
		return m, err
	}
	stored, err := storedInPostgres(ctx, conn)
	if err != nil {
		return m, err
	}
	return m, checkStored(stored, m.Acknowledged)
}

// measureProcesses loads several servers at once, each with its share of the
// connections.
func (w *workshop) measureProcesses(ctx context.Context, address string, row postgresRow) (sum measurement, err error) {
	type result struct {
		measurement
		err error
	}
	results := make(chan result)
	for range row.processes {
		s, err := w.startServer(ctx, serverSpec{Serve: row.serve, Database: address})
		if err != nil {
			return sum, err
		}
		defer s.abandon()
		w.stream++
		spec := loadSpec{
			Send: sendEvents, Connections: row.conns / row.processes, WarmUp: w.warmUp, Time: w.time,
			Address: s.Address, Seed: w.seed, Version: w.version, Stream: w.stream,
		}
		go func() {
			m, err := w.loadAndStop(ctx, s, spec)
			results <- result{m, err}
		}()
	}
	for range row.processes {
		r := <-results
		err = errors.Join(err, r.err)
		sum.Acknowledged.merge(r.Acknowledged)
		sum.Rate += r.Rate
		sum.CPU += r.CPU
		sum.Peak = max(sum.Peak, r.Peak)
		sum.Latency.P50 = max(sum.Latency.P50, r.Latency.P50)
		sum.Latency.P99 = max(sum.Latency.P99, r.Latency.P99)
		sum.Latency.P999 = max(sum.Latency.P999, r.Latency.P999)
	}
	return sum, err
}

// loadAndStop is a load of one server, to its end.
func (w *workshop) loadAndStop(ctx context.Context, s *server, spec loadSpec) (m measurement, err error) {
	c, err := w.start(ctx, roleLoad, spec, "GOMAXPROCS=1")
	if err != nil {
		return m, err
	}
	defer c.abandon()
	if m, err = c.work(s.child); err != nil {
		return m, errors.Join(err, s.complaint())
	}
	if err := c.stop(nil); err != nil {
		return m, err
	}
	if err := s.stop(new(served)); err != nil {
		return m, err
	}
	m.atExit(s.child)
	return m, nil
}

// storedInPostgres reads the references of all rows.
func storedInPostgres(ctx context.Context, conn *pgx.Conn) (tally, error) {
	var stored tally
	rows, err := conn.Query(ctx, "SELECT reference FROM "+benchSchema+".events")
	if err != nil {
		return stored, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return stored, err
		}
		reference, err := uuid.Parse(text)
		if err != nil {
			return stored, fmt.Errorf("%w: the reference %q was never sent", errMismatch, text)
		}
		stored.add(reference)
	}
	return stored, rows.Err()
}

// report is the table and the targets.
func (found *postgresResults) report(o options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s; one bare write of %d bytes and fsync took %s ms (median).\n", found.place, syncBytes, milliseconds(found.sync))
	fmt.Fprintf(&b, "%s of %v, seed %d, references UUIDv4. Figures are medians of the rounds.\n\n", rounds(o.rounds), o.time, o.seed)
	fmt.Fprintf(&b, "| | connections | events/s | p50 ms | p99 ms | p99.9 ms | CPU s per 100,000 events | peak RSS MB |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range postgresRows() {
		of := func(figure func(measurement) float64) float64 {
			var values []float64
			for _, m := range found.by[row.name] {
				values = append(values, figure(m))
			}
			return median(values)
		}
		ms := func(l func(latencies) time.Duration) string {
			return milliseconds(time.Duration(of(func(m measurement) float64 { return float64(l(m.Latency)) })))
		}
		conns, peak := "–", "–"
		if row.conns > 0 {
			conns = fmt.Sprint(row.conns)
		}
		if bytes := of(func(m measurement) float64 { return float64(m.Peak) }); bytes > 0 {
			peak = megabytes(bytes)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", row.name, conns,
			thousands(of(func(m measurement) float64 { return m.Rate })),
			ms(func(l latencies) time.Duration { return l.P50 }), ms(func(l latencies) time.Duration { return l.P99 }), ms(func(l latencies) time.Duration { return l.P999 }),
			significant(of(measurement.cpuPer100k)), peak)
	}
	b.WriteString("\nOf four processes the latency is that of the slowest, the memory that of the largest; of the loop, latency is that of a transaction.\n")
	writeFindings(&b, found.findings())
	return b.String()
}

// findings divides within each round.
func (found *postgresResults) findings() []finding {
	ratio := func(about string, bound float64, dividend, divisor string) finding {
		f := finding{about: about, bound: bound, least: true, target: fmt.Sprintf("≥ %g", bound), format: significant}
		for i, m := range found.by[dividend] {
			if other := found.by[divisor][i]; other.Rate > 0 {
				f.values = append(f.values, m.Rate/other.Rate)
			}
		}
		return f
	}
	const one, four, alone, loop, naive = "pgstore, one process", "pgstore, four processes", "pgstore, 64 callers, no HTTP", "raw INSERT loop, 64 a transaction", "one transaction a request"
	return []finding{
		ratio("group commit, 64 connections, against the raw loop of 64 a transaction", 0.8, one, loop),
		ratio("its store alone, 64 callers without HTTP, against the same", 0.8, alone, loop),
		ratio("group commit, 64 connections, against one transaction a request", 4, one, naive),
		ratio("four processes against one, 64 connections in all", 1.5, four, one),
	}
}
