package sqlitestore_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/sqlitestore"
	"example.com/chargeingest/storetest"
)

func TestStore(t *testing.T) {
	var paths sync.Map // of each store
	open := func(t *testing.T, path string) chargeingest.EventStore {
		s, err := sqlitestore.Open(t.Context(), path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		paths.Store(s, path)
		return s
	}
	storetest.Run(t,
		func(t *testing.T) chargeingest.EventStore {
			return open(t, filepath.Join(t.TempDir(), "charges.db"))
		},
		storetest.Reopen(func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore {
			path, _ := paths.Load(s)
			require.NoError(t, s.(*sqlitestore.Store).Close())
			return open(t, path.(string))
		}))
}
