package sqlitestore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/bloom"
)

func completeFilter(t *testing.T, s *Store) {
	t.Helper()
	for complete := false; !complete; {
		fresh(t, s, charges("acme", ""))
		require.NoError(t, s.writer.do(t.Context(), func() error {
			complete = s.writer.session.filters.current != nil
			return nil
		}))
	}
}

func TestNewReferencesNeedNoSearch(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	searches := func() int { return setup.faults.count("SELECT entries FROM runs") }
	for life := range 3 {
		completeFilter(t, s)
		setup.faults.clear()
		var stored []string
		for i := range 100 {
			stored = append(stored, fresh(t, s, charges("acme", fmt.Sprint(life, "-", i)))...)
		}
		require.Less(t, searches(), 5, "the filter may be wrong")
		for i, id := range stored {
			require.Equal(t, []string{id}, replayed(t, s, charges("acme", fmt.Sprint(life, "-", i))))
		}
		require.Greater(t, searches(), 50, "most are merged")
		require.NoError(t, s.Close())
		s = setup.open(t)
		// Before and after the filter is complete.
		replayed(t, s, charges("acme", fmt.Sprint(life, "-", 1)))
		completeFilter(t, s)
		replayed(t, s, charges("acme", fmt.Sprint(life, "-", 2)))
	}
}

// References that are merged while a filter is built must be in it.
func TestFilterOfGrowingTable(t *testing.T) {
	setup := smallGenerations(t)
	setup.tuning.minFilter = 10
	s := setup.open(t)
	references := numbered(2000)
	filters := make(map[*bloom.Filter]bool)
	for i := 0; i < len(references); i += 5 {
		fresh(t, s, charges("acme", references[i:i+5]...))
		require.NoError(t, s.writer.do(t.Context(), func() error {
			filters[s.writer.session.filters.current] = true
			return nil
		}))
	}
	require.Greater(t, len(filters), 5, "larger ones replace full ones")
	replayed(t, s, charges("acme", references...))
}
