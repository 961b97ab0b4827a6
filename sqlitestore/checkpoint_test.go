package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/tail"
)

func foreignReader(t *testing.T, path string) (end func()) {
	t.Helper()
	db, err := (&file{path: path, tuning: defaultTuning()}).open(nil)
	require.NoError(t, err)
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRow("SELECT count(*) FROM events").Scan(&n))
	end = func() {
		_ = tx.Rollback()
		require.NoError(t, db.Close())
	}
	t.Cleanup(end)
	return end
}

func startReading(t *testing.T, s *Store) (end func()) {
	t.Helper()
	begun, ending, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- s.read(context.Background(), "acme", false, func(ctx context.Context, tx *sql.Tx) error {
			var n int
			err := tx.QueryRowContext(ctx, "SELECT count(*) FROM events").Scan(&n)
			close(begun)
			<-ending
			return err
		})
	}()
	<-begun
	end = sync.OnceFunc(func() {
		close(ending)
		require.NoError(t, <-ended)
	})
	t.Cleanup(end) // before the store closes, which would wait
	return end
}

func moveAway(t *testing.T, path string, replace bool) (back func()) {
	t.Helper()
	require.NoError(t, os.Rename(path, path+".away"))
	if replace {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	return func() { require.NoError(t, os.Rename(path+".away", path)) }
}

func frames(t *testing.T, s *Store) int64 {
	t.Helper()
	var state walState
	require.NoError(t, s.writer.do(t.Context(), func() (err error) {
		state, err = s.writer.session.checkpoint("NOOP")
		return err
	}))
	return state.frames
}

func awaitCheckpoint(t *testing.T, s *Store) {
	t.Helper()
	for busy := true; busy; {
		require.NoError(t, s.writer.do(t.Context(), func() error {
			busy = s.writer.checkpoints.running
			return nil
		}))
	}
}

func TestWALRestarts(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.checkpointFrames = 50
	s := setup.open(t)
	setup.faults.clear()
	var maxFrames int64
	for i := range 200 {
		fresh(t, s, charges("acme", fmt.Sprint(i)))
		maxFrames = max(maxFrames, frames(t, s))
		awaitCheckpoint(t, s)
	}
	require.Less(t, maxFrames, int64(500), "of about 1,400 frames")
	require.Greater(t, setup.faults.count("PRAGMA wal_checkpoint(PASSIVE)"), 2)
	require.Less(t, setup.faults.count("PRAGMA wal_checkpoint(PASSIVE)"), 100)
}

func growWAL(t *testing.T, s *Store, minFrames int64) {
	t.Helper()
	for frames(t, s) < minFrames {
		b := charges("acme", "")
		fresh(t, s, b)
	}
}

func isDraining(t *testing.T, s *Store) (yes bool) {
	t.Helper()
	require.NoError(t, s.writer.do(t.Context(), func() error {
		yes = s.writer.checkpoints.draining
		return nil
	}))
	return yes
}

func TestOverlappingReadersPause(t *testing.T) {
	setup := newSetup(t)
	setup.options.ScanTimeout = time.Minute
	setup.tuning.checkpointFrames, setup.tuning.drainFrames = 10, 50
	s := setup.open(t)
	end := startReading(t, s)
	growWAL(t, s, 50)
	for !isDraining(t, s) {
		fresh(t, s, charges("acme", ""))
	}
	growWAL(t, s, frames(t, s)+10)
	next := make(chan error)
	go func() {
		_, err := s.List(context.Background(), chargeingest.Query{Platform: "acme", Limit: 1})
		next <- err
	}()
	end()
	require.NoError(t, <-next)
	for isDraining(t, s) {
		runtime.Gosched()
	}
	for frames(t, s) > 20 {
		fresh(t, s, charges("acme", ""))
	}
}

func TestLongReaderIsReported(t *testing.T) {
	for _, c := range []struct {
		name        string
		drainFrames int64
		reportEvery time.Duration
		reports     func(n int) bool
	}{
		{"a large WAL at once, then once a minute", 50, time.Hour, func(n int) bool { return n == 1 }},
		{"a small WAL after a while, repeatedly", 100_000, 1, func(n int) bool { return n > 1 }},
		{"a small WAL not at once", 100_000, time.Hour, func(n int) bool { return n == 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log tail.Buffer
			setup := newSetup(t)
			setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			setup.tuning.checkpointFrames, setup.tuning.drainFrames = 10, c.drainFrames
			setup.tuning.reportEvery, setup.tuning.recheckEvery = c.reportEvery, time.Millisecond
			s := setup.open(t)
			require.Zero(t, s.Stats().WALBlockedSince)
			end := foreignReader(t, setup.path)
			growWAL(t, s, 120)
			blocked := func() bool { return !s.Stats().WALBlockedSince.IsZero() }
			for !blocked() {
				runtime.Gosched()
			}
			since := s.Stats().WALBlockedSince
			for c.reports(1) != c.reports(2) && !c.reports(strings.Count(log.String(), "keeps growing")) {
				runtime.Gosched()
			}
			require.True(t, c.reports(strings.Count(log.String(), "keeps growing")), log.String())
			require.Equal(t, since, s.Stats().WALBlockedSince)
			require.NotEmpty(t, listed(t, s, "acme"), "readers go on")
			end()
			for blocked() {
				runtime.Gosched()
			}
			require.True(t, s.Stats().LastCheckpoint.After(since))
			for frames(t, s) > 20 {
				fresh(t, s, charges("acme", ""))
			}
		})
	}
}

func TestCloseWaitsForReaders(t *testing.T) {
	for _, frames := range []int64{5, 1000} {
		setup := newSetup(t)
		setup.options.ScanTimeout = time.Minute
		setup.tuning.drainFrames = frames
		s := setup.open(t)
		end := startReading(t, s)
		growWAL(t, s, 10)
		for frames < 10 && !isDraining(t, s) {
			fresh(t, s, charges("acme", ""))
		}
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		<-s.running.Done()
		awaitReadLock(s)
		end()
		require.NoError(t, <-closed)
		require.Len(t, readFiles(t, filepath.Dir(setup.path)), 1, "the WAL is gone")
	}
}

func TestFailedCheckpoint(t *testing.T) {
	for name, fault := range map[string]struct {
		code     resultError
		reopened bool
	}{
		"an I/O error ends the session": {sqlite3.SQLITE_IOERR_WRITE, true},
		"a full disk does not":          {sqlite3.SQLITE_FULL, false},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.checkpointFrames = 1
			s := setup.open(t)
			session := s.writer.session
			setup.faults.on("PRAGMA wal_checkpoint(PASSIVE)", fault.code)
			fresh(t, s, charges("acme", "a"))
			for s.writer.do(t.Context(), func() error { return s.writer.lastErr }) == nil {
				runtime.Gosched()
			}
			setup.faults.clear()
			require.NoError(t, s.Ready(t.Context()))
			require.Equal(t, fault.reopened, session != s.writer.session)
			replayed(t, s, charges("acme", "a"))
		})
	}
}

func TestFailedCheckpointIsRetriedLater(t *testing.T) {
	const message = "cannot be moved into the database"
	for name, pause := range map[string]time.Duration{"not at once": time.Hour, "after a pause": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			var log tail.Buffer
			setup := newSetup(t)
			setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			setup.tuning.checkpointFrames, setup.tuning.recheckEvery = 1, pause
			s := setup.open(t)
			opened := s.Stats().LastCheckpoint
			setup.faults.on("PRAGMA wal_checkpoint(PASSIVE)", resultError(sqlite3.SQLITE_FULL))
			for strings.Count(log.String(), message) == 0 {
				fresh(t, s, charges("acme", ""))
			}
			for range 100 {
				fresh(t, s, charges("acme", ""))
			}
			setup.faults.clear()
			if pause == time.Hour {
				require.Equal(t, 1, strings.Count(log.String(), message))
				return
			}
			for !s.Stats().LastCheckpoint.After(opened) {
				runtime.Gosched()
			}
		})
	}
}

func TestCheckpointRepeatsWhileFramesShrink(t *testing.T) {
	l := newCheckpointer(0)
	var repeated []bool
	for _, frames := range []int64{
		1000, 400, 150, 80,
		1000, 1000,
		1000, 501,
		100,
	} {
		repeated = append(repeated, l.shouldRepeat(frames, 100))
	}
	require.Equal(t, []bool{true, true, true, false, true, false, true, false, false}, repeated)
}

func TestCheckpointOfAnotherProgram(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	path := s.file.path
	reached, release := make(chan struct{}), make(chan struct{})
	wait := sync.OnceFunc(func() {
		close(reached)
		<-release
	})
	disks.Store(path, disk(func(op operation) int32 {
		if op.is("write", "database") {
			wait()
		}
		return 0
	}))
	defer disks.Delete(path)
	var program sync.WaitGroup
	program.Go(func() { execSQL(t, path, "PRAGMA wal_checkpoint") })
	<-reached
	checkpointAll(t, s)
	fresh(t, s, charges("acme", "b"))
	require.NoError(t, s.Ready(t.Context()))
	close(release)
	program.Wait()
	checkpointAll(t, s)
	replayed(t, s, charges("acme", "a", "b"))
}
