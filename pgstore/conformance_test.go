package pgstore

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storetest"
)

func TestStore(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	var schemas sync.Map
	open := func(t *testing.T, schema string) chargeingest.EventStore {
		s, err := New(context.Background(), pool, Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		schemas.Store(s, schema)
		return s
	}
	storetest.Run(t,
		func(t *testing.T) chargeingest.EventStore { return open(t, newSchema(t, pool)) },
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
		s, err := New(context.Background(), pool, Options{Schema: schema, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		schemas.Store(s, schema)
		return s, s.Journal()
	}
	storetest.RunJournal(t,
		func(t *testing.T) (chargeingest.EventStore, storetest.Journal) { return open(t, newSchema(t, pool)) },
		storetest.ReopenJournal(func(t *testing.T, s chargeingest.EventStore) (chargeingest.EventStore, storetest.Journal) {
			schema, _ := schemas.Load(s)
			require.NoError(t, s.(*Store).Close())
			return open(t, schema.(string))
		}))
}
