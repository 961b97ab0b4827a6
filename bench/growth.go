package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Of growth: how the database is filled and told of, and what is done with it.
const (
	fillConnections = 8
	fillStep        = 1_000_000 // events; the rate of each is told
	openTimes       = 5
	growthConns     = 64
)

// filled is what was measured on a database with events in it.
type filled struct {
	version int       // of the references
	fill    []float64 // events/s of each fillStep
	bytes   int64     // of the database, when it was filled
	ratios  []float64 // single events, against an empty database, of each round
	empty   []float64 // events/s
	full    []float64 // events/s
	list    latencies
	ready   []time.Duration // from the start of the process to the first answer
	opened  []time.Duration // sqlitestore.Open alone
}

// soak is what a server had of memory through a long run, in bytes.
type soak struct {
	measurement
	halves [2]int64 // the most seen in each half; 0 where the system does not tell
}

// growth is the command of that name.
func (p *program) growth(ctx context.Context, args []string) (err error) {
	o, err := parseGrowth(args, p.stdout)
	if err != nil {
		return err
	}
	w, err := p.openWorkshop(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	var found growthResults
	if found.place, err = w.place(); err != nil {
		return err
	}
	if found.sync, err = syncMedian(w.folder); err != nil {
		return err
	}
	for _, version := range []int{7, 4} {
		w.version = version
		f, err := w.filled(ctx, o)
		if err != nil {
			return fmt.Errorf("references UUIDv%d: %w", version, err)
		}
		found.filled = append(found.filled, f)
	}
	if found.soak, err = w.soak(ctx, o.soak); err != nil {
		return fmt.Errorf("long run: %w", err)
	}
	return p.publish(o, found.report(o))
}

// filled fills a database, measures what it is like then, and verifies it.
func (w *workshop) filled(ctx context.Context, o options) (f filled, err error) {
	f.version = w.version
	path, remove, err := w.database()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := w.startServer(ctx, serverSpec{Serve: serveSQLite, Database: path})
	if err != nil {
		return f, err
	}
	defer s.abandon()
	acknowledged, err := w.fill(ctx, s, o.events, &f)
	if err != nil {
		return f, err
	}
	info, err := os.Stat(path) //nolint:gosec // in a folder of our own
	if err != nil {
		return f, err
	}
	f.bytes = info.Size()
	for i := range o.rounds {
		added, err := w.againstEmpty(ctx, s, i+1, &f)
		if err != nil {
			return f, err
		}
		acknowledged.merge(added)
	}
	lists, err := w.load(ctx, s, loadSpec{
		Send: sendLists, Connections: 1, Requests: o.lists, Batch: batchEvents, Events: o.events,
	})
	if err != nil {
		return f, err
	}
	f.list = lists.Latency
	w.progress("UUIDv%d: list p50 %s, p99 %s ms", w.version, milliseconds(f.list.P50), milliseconds(f.list.P99))
	if err := s.stop(new(served)); err != nil {
		return f, err
	}
	for range openTimes {
		if err := w.reopen(ctx, path, &f); err != nil {
			return f, err
		}
	}
	w.progress("UUIDv%d: verifying %d events", w.version, acknowledged.Events)
	return f, verifyDatabase(ctx, path, acknowledged)
}

// fill stores so many events, in batches, and keeps how the rate changes.
func (w *workshop) fill(ctx context.Context, s *server, events int64, f *filled) (tally, error) {
	var acknowledged tally
	for acknowledged.Events < events {
		left := min(fillStep, events-acknowledged.Events)
		m, err := w.load(ctx, s, loadSpec{
			Send: sendBatches, Connections: fillConnections, Batch: batchEvents, Requests: (left + batchEvents - 1) / batchEvents,
		})
		if err != nil {
			return acknowledged, err
		}
		acknowledged.merge(m.Acknowledged)
		f.fill = append(f.fill, m.Rate)
		w.progress("UUIDv%d: %s events stored, the last at %s events/s", w.version, thousands(float64(acknowledged.Events)), thousands(m.Rate))
	}
	return acknowledged, nil
}

// againstEmpty measures single events on an empty database and, right after
// it, on the filled one. It returns what the filled one has more then.
func (w *workshop) againstEmpty(ctx context.Context, s *server, number int, f *filled) (tally, error) {
	empty, err := w.measure(ctx, task{variant{letter: letterSingle, serve: serveSQLite}, growthConns}, "", 0)
	if err != nil {
		return tally{}, fmt.Errorf("round %d, empty: %w", number, err)
	}
	full, err := w.load(ctx, s, loadSpec{Send: sendEvents, Connections: growthConns, WarmUp: w.warmUp, Time: w.time})
	if err != nil {
		return tally{}, fmt.Errorf("round %d, filled: %w", number, err)
	}
	f.empty, f.full = append(f.empty, empty.Rate), append(f.full, full.Rate)
	if empty.Rate > 0 && full.Rate > 0 {
		f.ratios = append(f.ratios, full.Rate/empty.Rate)
	}
	w.progress("UUIDv%d, round %d: empty %s, filled %s events/s", w.version, number, thousands(empty.Rate), thousands(full.Rate))
	return full.Acknowledged, nil
}

// reopen starts a server on a database that was closed cleanly and takes the
// time until it answers from it. The system has the file's pages at hand.
func (w *workshop) reopen(ctx context.Context, path string, f *filled) error {
	begin := time.Now()
	s, err := w.startServer(ctx, serverSpec{Serve: serveSQLite, Database: path})
	if err != nil {
		return err
	}
	defer s.abandon()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Address+"/v1/ingest/charge-data?limit=1", nil)
	if err != nil {
		return err
	}
	r.Header.Set("X-API-KEY", apiKey)
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the first list after opening was answered %s", answer.Status)
	}
	f.ready, f.opened = append(f.ready, took), append(f.opened, s.Opened)
	w.progress("UUIDv%d: ready after %s ms, of which opening took %s", w.version, milliseconds(took), milliseconds(s.Opened))
	return s.stop(new(served))
}

// soak sends single events for long and watches the server's memory.
func (w *workshop) soak(ctx context.Context, events int64) (found soak, err error) {
	path, remove, err := w.database()
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	s, err := w.startServer(ctx, serverSpec{Serve: serveSQLite, Database: path})
	if err != nil {
		return found, err
	}
	defer s.abandon()
	w.progress("long run of %d events", events)
	samples := watchMemory(s.pid(), time.Second)
	found.measurement, err = w.load(ctx, s, loadSpec{Send: sendEvents, Connections: growthConns, Requests: events})
	found.halves = halves(samples())
	if err != nil {
		return found, err
	}
	w.progress("long run: %s events/s, memory at most %s and then %s MB",
		thousands(found.Rate), megabytes(float64(found.halves[0])), megabytes(float64(found.halves[1])))
	if err := s.stop(new(served)); err != nil {
		return found, err
	}
	return found, verifyDatabase(ctx, path, found.Acknowledged)
}

// watchMemory looks at the memory of a process every so often until the function
// that it returns is called, which has a last look and returns all in order.
func watchMemory(pid int, every time.Duration) func() []int64 {
	var seen []int64
	look := func() {
		if u, err := usageOf(pid); err == nil {
			seen = append(seen, u.resident)
		}
	}
	look()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				look()
			case <-stop:
				look()
				return
			}
		}
	}()
	return func() []int64 {
		close(stop)
		<-stopped
		return seen
	}
}

// halves returns the most of each half.
func halves(seen []int64) (most [2]int64) {
	for i, n := range seen {
		half := 2 * i / len(seen)
		most[half] = max(most[half], n)
	}
	return most
}
