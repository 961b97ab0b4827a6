package pgstore

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestQueryExecModes(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		s := newStore(t, newPool(t, func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = mode
			c.ConnConfig.RuntimeParams["bytea_output"] = "escape"
		}), Options{})
		keyed := charges("acme", "a", "b")
		keyed.IdempotencyKey = "key"
		for _, b := range []chargeingest.Batch{keyed, keyed, charges("acme", "a", "c")} {
			appended(t, s, b)
		}
		require.Len(t, listed(t, s, "acme"), 3, mode)
		require.NoError(t, s.Ready(t.Context()))
	}
}

func TestTablesChange(t *testing.T) {
	parallel(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			schema := newSchema(t, pool)
			s := newStore(t, pool, Options{Schema: schema, ScanTimeout: 10 * time.Second})
			keyed := charges("acme", "a", "b")
			keyed.IdempotencyKey = "key"
			ids, _ := appended(t, s, keyed)
			use := func() {
				t.Helper()
				for range 2 {
					for _, lookupFirst := range []bool{true, false} {
						s.writer.lookupFirst = lookupFirst
						_, replayed := appended(t, s, keyed)
						require.Equal(t, []bool{true, true}, replayed)
						s.writer.lookupFirst = lookupFirst
						_, replayed = appended(t, s, charges("acme", "a"))
						require.Equal(t, []bool{true}, replayed)
					}
					s.writer.lookupFirst = false
					appended(t, s, charges("globex", ""))
					_, err := s.Get(t.Context(), "acme", ids[0])
					require.NoError(t, err)
					require.Equal(t, ids, listed(t, s, "acme"))
					require.NoError(t, s.Ready(t.Context()))
				}
			}
			use()
			for _, change := range []string{
				"events ALTER COLUMN content TYPE varchar", "events ALTER COLUMN id TYPE varchar COLLATE \"C\"",
				"events ALTER COLUMN timestamp_assigned TYPE boolean, ADD COLUMN more text NULL", "requests ALTER COLUMN route TYPE varchar, ADD COLUMN more jsonb NULL",
				"event_references ALTER COLUMN reference TYPE varchar COLLATE \"C\"", "platforms ALTER COLUMN last_id TYPE varchar COLLATE \"C\"",
				"events ALTER COLUMN content TYPE text",
			} {
				_, err := pool.Exec(t.Context(), "ALTER TABLE "+schema+"."+change)
				require.NoError(t, err)
				use()
			}
			require.Len(t, listed(t, s, "globex"), 16)
		})
	}
}

func TestTimeoutsWhilePreparing(t *testing.T) {
	parallel(t)
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for _, lookupFirst := range []bool{false, true} {
			t.Run(fmt.Sprint(mode, " lookupFirst ", lookupFirst), func(t *testing.T) {
				parallel(t)
				pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
				schema := newSchema(t, pool)
				s := newStore(t, pool, Options{Schema: schema, StatementTimeout: time.Second, ScanTimeout: 500 * time.Millisecond})
				tx, err := pool.Begin(t.Context())
				require.NoError(t, err)
				defer func() { _ = tx.Rollback(context.Background()) }()
				_, err = tx.Exec(t.Context(), "LOCK TABLE "+schema+".events")
				require.NoError(t, err)
				s.writer.lookupFirst = lookupFirst
				_, err = s.Append(t.Context(), charges("acme", "a"))
				require.Equal(t, codeLockNotAvailable, codeOf(err), "the server must end the wait: %v", err)
				_, err = s.Get(t.Context(), "acme", "chda_1")
				require.ErrorIs(t, err, chargeingest.ErrScanLimit)
				require.NoError(t, tx.Rollback(t.Context()))
				require.Eventually(t, func() bool { _, err := s.Append(t.Context(), charges("acme", "a")); return err == nil }, 10*time.Second, time.Millisecond)
			})
		}
	}
}
