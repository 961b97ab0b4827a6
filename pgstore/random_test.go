package pgstore

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/storemodel"
)

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
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return storemodel.Subject{
			Store: s,
			Reopen: func(ctx context.Context) (storemodel.Store, error) {
				if err := s.Close(); err != nil {
					return nil, err
				}
				var err error
				s, err = New(ctx, pool, o)
				return s, err
			},
		}
	})
}
