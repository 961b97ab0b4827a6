package sqlitestore

import (
	"context"
	"database/sql"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireNoneOpen holds a store that was closed to having no file of its
// database open. One that SQLite still closes could remove the write-ahead log
// of whoever has the database by then.
func requireNoneOpen(t *testing.T, path string) {
	t.Helper()
	opened.Range(func(_, file any) bool {
		require.NotEqual(t, path, file.(openedFile).database, "its %s is open", file.(openedFile).kind)
		return true
	})
}

func TestAReadThatWasGivenUpHasEndedWhenItReturns(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	var ended, late atomic.Int64
	setup.faults.set(func(st step) error {
		if st.statement == "ROLLBACK" {
			ended.Add(1)
			for range 1000 {
				if s.reading.TryLock() { // read has returned
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
			for n := 0; err == nil && n < 100; n++ { // until it was noticed, or for a moment
				_, err = tx.ExecContext(context.Background(), "SELECT 1")
			}
			return err
		})
		require.True(t, err == nil || ctx.Err() != nil, err)
	}
	require.EqualValues(t, 20, ended.Load())
	require.Zero(t, late.Load())
	require.NoError(t, s.Close())
	requireNoneOpen(t, s.file.path)
}
