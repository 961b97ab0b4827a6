package storetest_test

import (
	"path/filepath"
	"testing"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/storetest"
)

// testStore stands for TestStore.
func ExampleRun() {
	testStore := func(t *testing.T) {
		storetest.Run(t, func(*testing.T) chargeingest.EventStore { return memstore.New() })
	}
	_ = testStore
}

// A store on disk or on a server passes Reopen to check durability.
func ExampleReopen() {
	testStore := func(t *testing.T) {
		reopen := func(t *testing.T, s chargeingest.EventStore) chargeingest.EventStore {
			old := s.(*myStore)
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return openMyStore(t, old.path)
		}
		storetest.Run(t, func(t *testing.T) chargeingest.EventStore {
			return openMyStore(t, filepath.Join(t.TempDir(), "charges.db"))
		}, storetest.Reopen(reopen))
	}
	_ = testStore
}

// A store that keeps the journal of package relay next to its events checks it, too.
func ExampleRunJournal() {
	testJournal := func(t *testing.T) {
		storetest.RunJournal(t, func(t *testing.T) (chargeingest.EventStore, storetest.Journal) {
			s := openMyStore(t, filepath.Join(t.TempDir(), "charges.db"))
			return s, s.Journal()
		})
	}
	_ = testJournal
}

type myStore struct {
	*memstore.Store
	path string
}

func openMyStore(t *testing.T, path string) *myStore {
	s := &myStore{memstore.New(), path}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
