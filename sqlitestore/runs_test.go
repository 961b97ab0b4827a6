package sqlitestore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sortedrun"
)

// Different values can have the same number.
func TestEntriesOfOtherEvents(t *testing.T) {
	setup := smallGenerations(t)
	setup.tuning.runsPerLevel = 1000
	s := setup.open(t)
	all := fresh(t, s, forCustomer("c", numbered(40)...))
	require.NoError(t, s.writer.do(t.Context(), func() error {
		session := s.writer.session
		for run := range int64(3) {
			var entries []sortedrun.Entry
			for _, k := range []key{
				session.recent.of(byReference, "acme", "new"), session.recent.of(byReference, "acme", "ref-9"),
				session.recent.of(byCustomerID, "acme", "c"), session.recent.of(byCustomerID, "acme", "another"),
			} {
				for seq := range int64(4) { // of the first real run
					entries = append(entries, sortedrun.Entry{Number: k.number(), Seq: seq + 1})
				}
			}
			encoded := sortedrun.Sort(entries)
			if _, err := session.insertChunk.exec(run+1, encoded[len(encoded)-sortedrun.EntryBytes:], encoded); err != nil {
				return err
			}
			if _, err := session.insertRun.exec(run + 1); err != nil {
				return err
			}
		}
		return nil
	}))
	requireFound(t, s, "c", all, numbered(40))
	requireFound(t, s, "another", nil, nil)
	require.Equal(t, all[9:10], replayed(t, s, forCustomer("c", "ref-9")))
	again := fresh(t, s, forCustomer("another", "new"))
	requireFound(t, s, "another", again, []string{"new"})
}

func TestRunsOfDeletedEventsAreDropped(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	var kept []string
	for hour := range 12 {
		ids := fresh(t, s, at(hour, forCustomer("c", numbered(40)...)))
		if hour == 11 {
			kept = ids
			break
		}
		require.EqualValues(t, 40, pruned(t, s, hour+1))
	}
	for range 40 {
		fresh(t, s, at(12, charges("acme", "")))
	}
	require.Less(t, merged(t, s), int64(200), "of 1,440 entries, 120 have events")
	requireFound(t, s, "c", kept, numbered(40))
}

// A crash interrupts merges.
func TestUnfinishedRunsAreDeleted(t *testing.T) {
	setup := smallGenerations(t)
	setup.tuning.chunkEntries = 20
	s := setup.open(t)
	unfinished := func(s *Store) int64 {
		return value[int64](t, s, "SELECT count(*) FROM chunks WHERE run NOT IN (SELECT id FROM runs)")
	}
	var all []string
	seen := 0
	for i, reference := range numbered(300) {
		all = append(all, fresh(t, s, forCustomer("c", reference))...)
		if unfinished(s) == 0 {
			continue
		}
		seen++
		dead := setup
		dead.path = copyKilled(t, setup.path)
		again, err := open(t.Context(), dead.path, dead.options, dead.tuning)
		require.NoError(t, err)
		require.Zero(t, unfinished(again))
		require.Equal(t, all, replayed(t, again, forCustomer("c", numbered(i+1)...)))
		fresh(t, again, charges("acme", "more"))
		require.NoError(t, again.Close())
		report, err := Check(t.Context(), dead.path)
		require.NoError(t, err)
		require.Empty(t, report.Problems)
	}
	require.Greater(t, seen, 20)
	page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", CustomerID: "c", Order: chargeingest.Ascending, Limit: 1000})
	require.NoError(t, err)
	require.Len(t, page.Events, len(all), fmt.Sprint(seen))
}
