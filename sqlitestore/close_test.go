package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func requireNoOpenFiles(t *testing.T, path string) {
	t.Helper()
	opened.Range(func(_, file any) bool {
		require.NotEqual(t, path, file.(openedFile).database, "its %s is open", file.(openedFile).kind)
		return true
	})
}

func TestCanceledReadEndsBeforeItReturns(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	var ended, late atomic.Int64
	setup.faults.set(func(st step) error {
		if st.statement == "ROLLBACK" {
			ended.Add(1)
			for range 1000 {
				if s.reading.TryLock() {
					s.reading.Unlock()
					late.Add(1)
					break
				}
				runtime.Gosched()
			}
		}
		return nil
	}, nil)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.read(ctx, "acme", false, func(_ context.Context, tx *sql.Tx) error {
			cancel()
			var err error
			for n := 0; err == nil && n < 100; n++ {
				_, err = tx.ExecContext(context.Background(), "SELECT 1")
			}
			return err
		})
		require.True(t, err == nil || ctx.Err() != nil, err)
	}
	require.EqualValues(t, 20, ended.Load())
	require.Zero(t, late.Load())
	require.NoError(t, s.Close())
	requireNoOpenFiles(t, s.file.path)
}

func TestCloseStoresQueuedEvents(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	release := hold(s)
	var calls []sending
	for i := range 10 {
		calls = append(calls, send(t.Context(), s, charges("acme", fmt.Sprint(i))))
	}
	closed := make(chan error, 2)
	for range cap(closed) {
		go func() { closed <- s.Close() }()
	}
	<-s.running.Done()
	require.ErrorIs(t, s.Ready(t.Context()), chargeingest.ErrClosed)
	release()
	require.NoError(t, <-closed)
	require.NoError(t, <-closed)
	for _, pending := range calls {
		require.NoError(t, (<-pending).Err)
	}

	_, err := s.Append(t.Context(), charges("acme", "late"))
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.Get(t.Context(), "acme", "any")
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	_, err = s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, chargeingest.ErrClosed)
	require.ErrorIs(t, s.Ready(t.Context()), chargeingest.ErrClosed)
	require.ErrorIs(t, s.Backup(t.Context(), setup.path+".copy"), chargeingest.ErrClosed)
	_, err = s.Prune(t.Context(), time.Now())
	require.ErrorIs(t, err, chargeingest.ErrClosed)

	require.Len(t, readFiles(t, filepath.Dir(setup.path)), 1, "the WAL is gone")
	require.Len(t, listed(t, setup.open(t), "acme"), 10)
}

func TestFailedOpenLeavesNothingOpen(t *testing.T) {
	for _, statement := range []string{
		"CONNECT", "PRAGMA busy_timeout", "PRAGMA journal_mode", "PRAGMA synchronous", "PRAGMA application_id = ",
		"SELECT user_version", "BEGIN", "CREATE TABLE platforms", "PRAGMA user_version = ", "COMMIT", "PRAGMA wal_checkpoint(TRUNCATE)",
		"SELECT id FROM events", "PRAGMA query_only",
	} {
		t.Run(statement, func(t *testing.T) {
			setup := newSetup(t)
			setup.faults.on(statement, errIO)
			require.ErrorIs(t, setup.openError(t), errIO)
			setup.faults.clear()
			fresh(t, setup.open(t), charges("acme", "a"))
		})
	}
	setup := newSetup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := open(ctx, setup.path, setup.options, setup.tuning)
	require.ErrorIs(t, err, context.Canceled)
	setup.open(t)
}
