package sqlitestore_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/sqlitestore"
	"example.com/chargeingest/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	paths := make(map[chargeingest.EventStore]string)
	open := func(t *testing.T, path string) chargeingest.EventStore {
		t.Helper()
		s, err := sqlitestore.Open(t.Context(), path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		paths[s] = path
		return s
	}
	storetest.Run(t,
		func(t *testing.T) chargeingest.EventStore {
			return open(t, filepath.Join(t.TempDir(), "charges.db"))
		},
		storetest.Reopen(func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore {
			require.NoError(t, s.(*sqlitestore.Store).Close())
			return open(t, paths[s])
		}))
}
