package pgstore

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/storemodel"
)

func danglingRows(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	var references, keys int
	err := pool.QueryRow(ctx, strings.ReplaceAll(`SELECT
(SELECT count(*) FROM $schema.event_references r FULL JOIN (SELECT * FROM $schema.events WHERE reference <> '') e USING (platform, reference, seq) WHERE r IS NULL OR e IS NULL),
(SELECT count(*) FROM $schema.requests r, unnest(r.event_ids) AS u(id) WHERE NOT EXISTS (SELECT 1 FROM $schema.events e WHERE e.platform = r.platform AND e.id = u.id))`,
		"$schema", schema)).Scan(&references, &keys)
	if err == nil && references+keys > 0 {
		err = fmt.Errorf("%d references and %d keys without events", references, keys)
	}
	return err
}

func TestModel(t *testing.T) {
	parallel(t)
	rounds, seed := 1, *seedFlag
	if *roundsFlag > 0 {
		rounds = *roundsFlag
	}
	if seed == 0 {
		seed = rand.Uint64N(1 << 32)
	}
	t.Logf("repeat with -seed %d", seed)
	pool := newPool(t)
	storemodel.Test(t, rounds, seed, func(t *testing.T) storemodel.Subject {
		o := Options{
			Schema: newSchema(t, pool), Logger: slog.New(slog.DiscardHandler),
			StatementTimeout: time.Hour, AcquireTimeout: time.Hour, ScanTimeout: time.Hour,
		}
		s, err := New(t.Context(), pool, o)
		require.NoError(t, err)
		s.pruneBatch = 2
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return storemodel.Subject{
			Store: s,
			Reopen: func(ctx context.Context) (storemodel.Store, error) {
				if err := s.Close(); err != nil {
					return nil, err
				}
				var err error
				if s, err = New(ctx, pool, o); err == nil {
					s.pruneBatch = 2
				}
				return s, err
			},
			Prune:  func(ctx context.Context, before time.Time) (int64, error) { return s.Prune(ctx, before) },
			Verify: func() error { return danglingRows(t.Context(), pool, o.Schema) },
		}
	})
}
