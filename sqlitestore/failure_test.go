package sqlitestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

func TestFreedSpaceIsUsed(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	session, pages := s.writer.session, value[int64](t, s, "PRAGMA page_count")
	require.Equal(t, pages, value[int64](t, s, fmt.Sprintf("PRAGMA max_page_count = %d", pages)))
	release := hold(s)
	calls := []sending{send(t.Context(), s, charges("acme", numbered(500)...)), send(t.Context(), s, charges("acme", "b"))}
	setup.faults.clear()
	release()
	for _, pending := range calls {
		err := (<-pending).Err
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Equal(t, sqlite3.SQLITE_FULL, resultCode(err))
	}
	require.Equal(t, 1, setup.faults.count("BEGIN"), "a full disk is not retried per batch")
	require.Len(t, listed(t, s, "acme"), 1)

	value[int64](t, s, "PRAGMA max_page_count = 1000000")
	fresh(t, s, charges("acme", numbered(500)...))
	fresh(t, s, charges("acme", "b"))
	require.Same(t, session, s.writer.session)
}

func TestRolledBackCommitStoresNothing(t *testing.T) {
	for name, code := range map[string]resultError{"full": sqlite3.SQLITE_FULL, "busy": sqlite3.SQLITE_BUSY} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			session := s.writer.session
			setup.faults.on("COMMIT", code)
			_, err := s.Append(t.Context(), charges("acme", "a"))
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
			require.ErrorIs(t, err, code)
			setup.faults.clear()
			fresh(t, s, charges("acme", "a"))
			require.Same(t, session, s.writer.session)
		})
	}
}

func TestUnknownCommitReopensDatabase(t *testing.T) {
	for name, fault := range map[string]struct {
		set    func(*faults)
		stored bool
	}{
		"an I/O error before the commit":  {set: func(f *faults) { f.on("COMMIT", errIO) }},
		"a panic before the commit":       {set: func(f *faults) { f.once("COMMIT", func() error { panic("commit") }) }},
		"an unknown error":                {set: func(f *faults) { f.on("COMMIT", resultError(sqlite3.SQLITE_ERROR)) }},
		"an I/O error after the commit":   {stored: true, set: func(f *faults) { f.set(nil, after("COMMIT", errIO)) }},
		"disk full, but nothing to undo":  {set: func(f *faults) { f.set(onBoth(resultError(sqlite3.SQLITE_FULL), errIO), nil) }},
		"disk full after a broken commit": {set: func(f *faults) { f.set(onBoth(errIO, errIO), nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "before"))
			session := s.writer.session
			fault.set(setup.faults)
			_, err := s.Append(t.Context(), charges("acme", "a"))
			unknown(t, err)
			require.NotNil(t, session)

			setup.faults.on("PRAGMA wal_checkpoint(TRUNCATE)", errIO)
			require.ErrorIs(t, s.Ready(t.Context()), errIO)
			for _, b := range []chargeingest.Batch{charges("acme", "before"), charges("acme", "b"), changed("acme", "before")} {
				_, err = s.Append(t.Context(), b)
				require.ErrorIs(t, err, chargeingest.ErrNotStored)
				require.ErrorIs(t, err, errIO)
			}
			require.NotEmpty(t, listed(t, s, "acme"), "it can still be read")

			setup.faults.clear()
			require.Equal(t, fault.stored, appended(t, s, charges("acme", "a"))[0].Replayed)
			require.Equal(t, 1, setup.faults.count("PRAGMA wal_checkpoint(TRUNCATE)"))
			require.NotSame(t, session, s.writer.session)
			replayed(t, s, charges("acme", "before", "a"))
			require.Len(t, listed(t, s, "acme"), 2)
		})
	}
}

func after(prefix string, err error) func(string) error {
	return func(statement string) error {
		if strings.HasPrefix(statement, prefix) {
			return err
		}
		return nil
	}
}

func onBoth(commit, rollback error) func(step) error {
	return func(st step) error {
		return map[string]error{"COMMIT": commit, "ROLLBACK": rollback}[st.statement]
	}
}

func TestPanicWhileReopening(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	setup.faults.on("COMMIT", errIO)
	_, err := s.Append(t.Context(), charges("acme", "a"))
	unknown(t, err)
	setup.faults.once("CONNECT", func() error { panic("no connection") })
	_, err = s.Append(t.Context(), charges("acme", "a"))
	unknown(t, err)
	require.ErrorContains(t, err, "no connection")
	fresh(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "acme"), 1)
}

func TestReadyReopensFailedStore(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	setup.faults.on("COMMIT", errIO)
	_, err := s.Append(t.Context(), charges("acme", "a"))
	unknown(t, err)
	require.ErrorIs(t, s.Ready(t.Context()), errIO)
	setup.faults.clear()
	require.NoError(t, s.Ready(t.Context()))
	setup.faults.on("CONNECT", errors.New("the database is open already"))
	fresh(t, s, charges("acme", "a"))
}

func TestReadyAfterFailureWrites(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	setup.faults.clear()
	require.NoError(t, s.Ready(t.Context()))
	require.Zero(t, setup.faults.count("UPDATE merged SET seq = seq"), "it writes only after a failure")

	setup.faults.on("INSERT INTO events", resultError(sqlite3.SQLITE_FULL))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	setup.faults.on("UPDATE merged SET seq = seq", resultError(sqlite3.SQLITE_FULL))
	for range 2 {
		require.ErrorIs(t, s.Ready(t.Context()), resultError(sqlite3.SQLITE_FULL))
	}
	setup.faults.clear()
	require.NoError(t, s.Ready(t.Context()))
	require.Equal(t, 1, setup.faults.count("UPDATE merged SET seq = seq"))
	require.NoError(t, s.Ready(t.Context()))
	require.Equal(t, 1, setup.faults.count("UPDATE merged SET seq = seq"))

	setup.faults.on("BEGIN", resultError(sqlite3.SQLITE_BUSY))
	require.ErrorIs(t, s.Ready(t.Context()), resultError(sqlite3.SQLITE_BUSY))
	setup.faults.clear()
	fresh(t, s, charges("acme", "a"))
	setup.faults.clear()
	require.NoError(t, s.Ready(t.Context()))
	require.Zero(t, setup.faults.count("UPDATE merged SET seq = seq"), "a stored event needs no probe")
}

func TestReadyWaitsForWriterOrContext(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	release := hold(s)
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan error)
	go func() { ready <- s.Ready(ctx) }()
	cancel()
	require.ErrorIs(t, <-ready, context.Canceled)
	release()
	require.NoError(t, s.Ready(t.Context()))
	require.NoError(t, s.Ready(t.Context()))
	setup.faults.clear()
	for range 50 {
		require.ErrorIs(t, s.Ready(ctx), context.Canceled)
	}
	require.NoError(t, s.Ready(t.Context()))
	require.Equal(t, 1, setup.faults.count("BEGIN"), "canceled calls do nothing")
}

func TestIOErrorInTransaction(t *testing.T) {
	for _, statement := range []string{"BEGIN", "SELECT id, route", "INSERT INTO events", "INSERT INTO requests", "INSERT INTO request_events"} {
		t.Run(statement, func(t *testing.T) {
			setup := newSetup(t)
			s := setup.open(t)
			fresh(t, s, charges("acme", "before"))
			session := s.writer.session
			b := charges("acme", "a", "b")
			b.IdempotencyKey = "key"
			setup.faults.on(statement, resultError(sqlite3.SQLITE_IOERR_WRITE))
			_, err := s.Append(t.Context(), b)
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
			require.ErrorIs(t, err, resultError(sqlite3.SQLITE_IOERR_WRITE))
			setup.faults.clear()
			fresh(t, s, b)
			require.NotSame(t, session, s.writer.session)
			require.Len(t, listed(t, s, "acme"), 3)
		})
	}
}

func TestConflictInFailedTransaction(t *testing.T) {
	for _, commit := range []struct {
		err     error
		unknown bool
	}{{errIO, true}, {resultError(sqlite3.SQLITE_FULL), false}} {
		setup := newSetup(t)
		s := setup.open(t)
		release := hold(s)
		first := send(t.Context(), s, charges("acme", "a"))
		second := send(t.Context(), s, changed("acme", "a"))
		setup.faults.on("COMMIT", commit.err)
		release()
		err := (<-first).Err
		if commit.unknown {
			unknown(t, err)
		} else {
			require.ErrorIs(t, err, chargeingest.ErrNotStored)
		}
		err = (<-second).Err
		require.ErrorIs(t, err, chargeingest.ErrNotStored, "the conflicting event may not exist")
		var conflict *chargeingest.ConflictError
		require.NotErrorAs(t, err, &conflict)
		setup.faults.clear()
		fresh(t, s, changed("acme", "a"))
	}
}

func TestForeignReaderBlocksReopening(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.busyTimeout = "1"
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	end := foreignReader(t, setup.path)
	setup.faults.on("COMMIT", errIO)
	_, err := s.Append(t.Context(), charges("acme", "b"))
	unknown(t, err)
	setup.faults.clear()
	require.Error(t, s.Ready(t.Context()))
	_, err = s.Append(t.Context(), charges("acme", "b"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	end()
	fresh(t, s, charges("acme", "b"))
}

func TestReopeningWaitsForReaders(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	end := startReading(t, s)
	setup.faults.on("COMMIT", errIO)
	_, err := s.Append(t.Context(), charges("acme", "b"))
	unknown(t, err)
	setup.faults.clear()
	pending := call(t.Context(), s, charges("acme", "b"))
	awaitReadLock(s)
	end()
	require.NoError(t, (<-pending).Err)
}

func TestMovedDatabaseStoresNothing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	for _, replace := range []bool{false, true} {
		moved := moveAway(t, setup.path, replace)
		_, err := s.Append(t.Context(), charges("acme", "b"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.Error(t, s.Ready(t.Context()))
		moved()
		replayed(t, s, charges("acme", "a"))
	}
	fresh(t, s, charges("acme", "b"))
}

func TestDeletedWALLosesNothing(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	for i, remove := range []func(string) error{
		os.Remove,
		func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
	} {
		before, after := fmt.Sprint("before-", i), fmt.Sprint("after-", i)
		fresh(t, s, charges("acme", before))
		require.NotEmpty(t, listed(t, s, "acme"))
		require.NoError(t, remove(setup.path+"-wal"))
		fresh(t, s, charges("acme", after))
		replayed(t, s, charges("acme", before))
		require.Len(t, listed(t, s, "acme"), 2*(i+1))
	}
	setup.path = copyKilled(t, setup.path)
	require.Len(t, listed(t, setup.open(t), "acme"), 4)
}

func TestCloseRescuesDeletedWAL(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.walCheckEvery = time.Hour
	s := setup.open(t)
	fresh(t, s, charges("acme", "before"))
	require.NoError(t, os.Remove(setup.path+"-wal"))
	fresh(t, s, charges("acme", "after"))
	require.NoFileExists(t, setup.path+"-wal")
	require.NoError(t, s.Close())
	replayed(t, setup.open(t), charges("acme", "before", "after"))
}

func TestDeletedWALThatCannotBeRescued(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.busyTimeout = "1"
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	fresh(t, s, charges("acme", "before"))
	end := foreignReader(t, setup.path)
	s.writer.file.walCheckEvery = time.Hour
	require.NoError(t, os.Remove(setup.path+"-wal"))
	fresh(t, s, charges("acme", "unnoticed"))
	s.writer.session.walSeen = time.Time{}
	for range 2 {
		_, err = s.Append(t.Context(), charges("acme", "noticed"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.ErrorContains(t, err, "was deleted")
	}
	require.Error(t, s.Close(), "its events are lost")
	end()
}

func TestReopeningIsRateLimited(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.reopenEvery = time.Hour
	s := setup.open(t)
	setup.faults.on("COMMIT", errIO)
	_, err := s.Append(t.Context(), charges("acme", "a"))
	unknown(t, err)
	attempts := 0
	setup.faults.set(func(st step) error {
		if st.statement != "CONNECT" {
			return nil
		}
		attempts++
		return errIO
	}, nil)
	for range 3 {
		_, err = s.Append(t.Context(), charges("acme", "a"))
		require.ErrorIs(t, err, chargeingest.ErrNotStored)
		require.ErrorIs(t, err, errIO)
		require.ErrorIs(t, s.Ready(t.Context()), errIO)
	}
	require.Equal(t, 1, attempts)
	s.writer.reopening.failed = time.Time{}
	setup.faults.clear()
	fresh(t, s, charges("acme", "a"))
}

func TestAppendErrorsNameNoFile(t *testing.T) {
	var log bytes.Buffer
	setup := newSetup(t)
	setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	back := moveAway(t, setup.path, false)
	_, err := s.Append(t.Context(), charges("acme", "b"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	folder := filepath.Dir(setup.path)
	require.NotContains(t, err.Error(), folder)
	require.Contains(t, log.String(), "moved away")
	require.Contains(t, log.String(), setup.path, "the operator's log does")
	back()
	fresh(t, s, charges("acme", "b"))
}
