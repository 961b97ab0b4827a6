package pgstore

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storetest"
)

// emptySchemas reuses schemas, which is faster.
func emptySchemas(pool *pgxpool.Pool) func(*testing.T) string {
	var unused []string
	return func(t *testing.T) (schema string) {
		if n := len(unused); n > 0 {
			schema, unused = unused[n-1], unused[:n-1]
			_, err := pool.Exec(t.Context(), strings.ReplaceAll("TRUNCATE $.platforms, $.events, $.event_references, $.requests, $.relay_streams, $.relay_entries", "$", schema))
			require.NoError(t, err)
		} else {
			schema = newSchema(t, pool)
		}
		t.Cleanup(func() { unused = append(unused, schema) })
		return schema
	}
}

// patientOptions are for busy machines.
func patientOptions(schema string) Options {
	return Options{Schema: schema, AcquireTimeout: time.Minute, StatementTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}
}

func TestStore(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	var schemas sync.Map
	open := func(t *testing.T, schema string) chargeingest.EventStore {
		s, err := New(context.Background(), pool, patientOptions(schema))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		schemas.Store(s, schema)
		return s
	}
	emptySchema := emptySchemas(pool)
	storetest.Run(t,
		func(t *testing.T) chargeingest.EventStore { return open(t, emptySchema(t)) },
		storetest.Reopen(func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore {
			schema, _ := schemas.Load(s)
			require.NoError(t, s.(*Store).Close())
			return open(t, schema.(string))
		}))
}

func TestJournal(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	var schemas sync.Map
	open := func(t *testing.T, schema string) (chargeingest.EventStore, storetest.Journal) {
		s, err := New(context.Background(), pool, patientOptions(schema))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		schemas.Store(s, schema)
		return s, s.Journal()
	}
	emptySchema := emptySchemas(pool)
	storetest.RunJournal(t,
		func(t *testing.T) (chargeingest.EventStore, storetest.Journal) { return open(t, emptySchema(t)) },
		storetest.ReopenJournal(func(t *testing.T, s chargeingest.EventStore) (chargeingest.EventStore, storetest.Journal) {
			schema, _ := schemas.Load(s)
			require.NoError(t, s.(*Store).Close())
			return open(t, schema.(string))
		}))
}
