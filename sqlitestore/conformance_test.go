package sqlitestore

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storetest"
)

func TestStore(t *testing.T) {
	setup := newSetup(t)
	runConformance(t, setup)
}

func TestStoreWithConstantMerges(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.generationSize, setup.tuning.chunkEntries, setup.tuning.runsPerLevel = 3, 3, 2
	runConformance(t, setup)
}

func TestJournal(t *testing.T) {
	setup := newSetup(t)
	var paths sync.Map
	open := func(t *testing.T, path string) (chargeingest.EventStore, storetest.Journal) {
		setup := setup
		setup.path = path
		s := setup.open(t)
		paths.Store(s, path)
		return s, s.Journal()
	}
	storetest.RunJournal(t,
		func(t *testing.T) (chargeingest.EventStore, storetest.Journal) {
			return open(t, filepath.Join(t.TempDir(), "charges.db"))
		},
		storetest.ReopenJournal(func(t *testing.T, s chargeingest.EventStore) (chargeingest.EventStore, storetest.Journal) {
			path, _ := paths.Load(s)
			require.NoError(t, s.(*Store).Close())
			return open(t, path.(string))
		}))
}

func runConformance(t *testing.T, setup setup) {
	var paths sync.Map
	open := func(t *testing.T, path string) chargeingest.EventStore {
		setup := setup
		setup.path = path
		s := setup.open(t)
		paths.Store(s, path)
		return s
	}
	storetest.Run(t,
		func(t *testing.T) chargeingest.EventStore {
			return open(t, filepath.Join(t.TempDir(), "charges.db"))
		},
		storetest.Reopen(func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore {
			path, _ := paths.Load(s)
			require.NoError(t, s.(*Store).Close())
			return open(t, path.(string))
		}))
}
