package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/sqlitestore"
)

type prunes struct {
	newest time.Time
	mu     sync.Mutex
	before []time.Time
	prune  func(context.Context) (int64, error)
}

func (p *prunes) Stats() chargeingest.StoreStats {
	return chargeingest.StoreStats{NewestEvent: p.newest}
}

func (p *prunes) Prune(ctx context.Context, before time.Time) (int64, error) {
	p.mu.Lock()
	p.before = append(p.before, before)
	p.mu.Unlock()
	if p.prune == nil {
		return 0, nil
	}
	return p.prune(ctx)
}

type prunesStore struct {
	store
	*prunes
}

func TestRetentionBeforeFirstEvent(t *testing.T) {
	p := &prunes{newest: time.Now().Add(-10 * 365 * 24 * time.Hour)}
	metrics, err := newMetrics()
	require.NoError(t, err)
	stop := retain(t.Context(), 24*time.Hour, prunesStore{prunes: p}, metrics, slog.New(slog.DiscardHandler))
	p.newest = time.Now()
	stop()
	for _, before := range p.before {
		require.True(t, before.Before(p.newest.Add(-365*24*time.Hour)), "%s", before)
	}
}

type retentionTest struct {
	*retention
	*prunes
	log      *recorder
	observed []error
	deleted  int64
	ahead    atomic.Int64 // of the wall clock, in nanoseconds
	stop     func()
}

func keepADay(t *testing.T, newest time.Time, prune func(context.Context) (int64, error)) *retentionTest {
	rt := &retentionTest{prunes: &prunes{newest: newest, prune: prune}, log: newRecorder()}
	rt.retention = &retention{
		store: rt.prunes, keep: 24 * time.Hour, logger: slog.New(slog.NewTextHandler(rt.log, nil)),
		observe: func(deleted int64, err error) { rt.deleted += deleted; rt.observed = append(rt.observed, err) },
		wall:    func() time.Time { return time.Now().Round(0).Add(time.Duration(rt.ahead.Load())) },
	}
	rt.start()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		rt.run(ctx)
	}()
	rt.stop = func() { cancel(); <-done }
	t.Cleanup(rt.stop)
	return rt
}

func (rt *retentionTest) last() time.Time {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.before[len(rt.before)-1]
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("disk full")
		results := []error{nil, full, nil}
		n := 0
		rt := keepADay(t, time.Now(), func(context.Context) (int64, error) { n++; return int64(n - 1), results[n-1] })
		start := time.Now().Round(0)
		time.Sleep(25 * time.Minute)
		rt.stop()
		require.Equal(t, []time.Time{start.Add(-24 * time.Hour), start.Add(10*time.Minute - 24*time.Hour), start.Add(20*time.Minute - 24*time.Hour)}, rt.before)
		require.Equal(t, results, rt.observed, "an error does not end it")
		require.EqualValues(t, 3, rt.deleted)
		require.Regexp(t, `(?s)^\S+ level=INFO msg="old events deleted" events=1 received_before=[^\n]*\n\S+ level=ERROR msg="old events not deleted" error="disk full" retry_in=10m0s\n\S+ level=INFO [^\n]* events=2 [^\n]*\n$`, rt.log.String())
	})
}

func TestRetentionStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := keepADay(t, time.Now(), func(ctx context.Context) (int64, error) {
			<-ctx.Done()
			return 7, ctx.Err()
		})
		synctest.Wait()
		start := time.Now()
		rt.stop()
		require.Zero(t, time.Since(start))
		require.Equal(t, []error{nil}, rt.observed, "a shutdown is not a failure")
		require.Contains(t, rt.log.String(), "events=7")
	})
}

func TestRetentionClock(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	run("set forward while the server runs", func(t *testing.T) {
		rt := keepADay(t, time.Now(), nil)
		start := time.Now().Round(0)
		synctest.Wait()
		rt.ahead.Store(int64(years))
		time.Sleep(48*time.Hour + time.Second)
		require.Equal(t, start.Add(24*time.Hour), rt.last(), "only the elapsed time counts")
		rt.stop()
		require.Contains(t, rt.log.String(), "the clock may be wrong")
	})
	run("set back", func(t *testing.T) {
		rt := keepADay(t, time.Now(), nil)
		synctest.Wait()
		rt.ahead.Store(-int64(years))
		time.Sleep(10*time.Minute + time.Second)
		require.Equal(t, time.Now().Round(0).Add(-time.Second-years-24*time.Hour), rt.last())
	})
	run("years ahead at the start", func(t *testing.T) {
		newest := time.Now().Round(0).Add(-years)
		rt := keepADay(t, newest, nil)
		synctest.Wait()
		require.Equal(t, newest, rt.last(), "at most a day beyond the newest event")
		time.Sleep(30*24*time.Hour + time.Second)
		require.Equal(t, newest.Add(30*24*time.Hour), rt.last(), "an idle server deletes events at last")
		rt.stop()
	})
	run("an event of the future", func(t *testing.T) {
		start := time.Now().Round(0)
		rt := keepADay(t, start.Add(years), nil)
		synctest.Wait()
		require.Equal(t, start.Add(-24*time.Hour), rt.last())
		rt.stop()
		require.Contains(t, rt.log.String(), "the clock is behind the newest event")
	})
	run("no event", func(t *testing.T) {
		start := time.Now().Round(0)
		rt := keepADay(t, time.Time{}, nil)
		synctest.Wait()
		require.Equal(t, start.Add(-24*time.Hour), rt.last())
		require.Empty(t, rt.log.String())
	})
}

func TestRetainValues(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"1h": time.Hour, "36h": 36 * time.Hour, "1d": 24 * time.Hour, "400d": 9600 * time.Hour, "36500d": maxRetain,
		"": 0, "0": 0, "0d": 0, "-1d": 0, "400": 0, "30m": 0, "1.5d": 0, "36501d": 0, "1h30m": 0, "1 d": 0, "9999999d": 0,
	} {
		var got time.Duration
		err := retainAge(&got)(value)
		if want == 0 {
			require.ErrorContains(t, err, "such as 400d or 36h", value)
		} else {
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	_, err := parseForTest(newTestProgram(), "-retain", "400d", "-db", inMemory)
	require.ErrorContains(t, err, "-retain needs -db")
}

func oldEvent(received time.Time) chargeingest.Batch {
	return chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{{
		Content: `{"reference":"ref-1","timestamp":"2026-03-01T12:00:00Z"}`, Reference: "ref-1", ProductItemID: "proi_1", ReceivedAt: received,
	}}}
}

func testRetainOption(t *testing.T, db string, s store) {
	t.Helper()
	for _, received := range []time.Time{time.Now().Add(-48 * time.Hour), time.Now()} {
		b := oldEvent(received)
		if time.Since(received) < time.Hour {
			b.Events[0].Reference = "young"
			b.Events[0].Content = strings.Replace(b.Events[0].Content, "ref-1", "young", 1)
		}
		_, err := s.Append(t.Context(), b)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
	server := startServer(t, "-db", db, "-retain", "24h")
	require.True(t, server.log.waitFor(`msg="old events deleted" events=1 `, server.done))
	require.Len(t, server.events(t), 1)
	_, text := server.send(t, http.MethodGet, "/metrics", "")
	for _, line := range []string{"events_pruned_total 1", `prune_runs_total{result="success"} 1`, "ready 1"} {
		require.Contains(t, text, "\nchargeingest_"+line+"\n")
	}
	require.Contains(t, text, "\nchargeingest_prune_last_success_timestamp_seconds ")
	require.Eventually(t, func() bool { // pgstore measures in the background
		_, text := server.send(t, http.MethodGet, "/metrics", "")
		return strings.Contains(text, "\nchargeingest_store_database_bytes ")
	}, 10*time.Second, time.Millisecond)
	status, _ := server.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
	require.Equal(t, http.StatusCreated, status, "the reference can be used again")
	server.stop()
	<-server.done
	require.Equal(t, 0, server.status, server.log)
}

func TestRetainOptionWithSQLite(t *testing.T) {
	db := filepath.Join(t.TempDir(), "charges.db")
	s, err := sqlitestore.Open(t.Context(), db)
	require.NoError(t, err)
	testRetainOption(t, db, s)
}
