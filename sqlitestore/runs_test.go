package sqlitestore

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
	for i, reference := range numbered(100) {
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
	require.Greater(t, seen, 5)
	page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", CustomerID: "c", Order: chargeingest.Ascending, Limit: 1000})
	require.NoError(t, err)
	require.Len(t, page.Events, len(all), fmt.Sprint(seen))
}

// Readers still use the entries.
func TestRetiredEntriesStayInOrder(t *testing.T) {
	r := newRecentIndex(defaultTuning(), []byte("secret"), 0)
	for _, reference := range numbered(100) {
		e := charge(reference)
		r.add("acme", &e)
	}
	r.commit()
	encoded := r.retire()
	require.Len(t, encoded, 100*sortedrun.EntryBytes)
	for i, e := range r.old.entries {
		require.EqualValues(t, i+1, e.Seq)
	}
}

func TestKilledDuringMergesAtOpening(t *testing.T) {
	setup := newSetup(t)
	s, err := open(t.Context(), setup.path, setup.options, setup.tuning)
	require.NoError(t, err)
	references := numbered(1000)
	all := fresh(t, s, charges("acme", references...))
	require.NoError(t, s.Close())
	setup.tuning.generationSize = 100
	var killed []string
	setup.faults.set(func(st step) error {
		if strings.Contains(st.statement, "wal_checkpoint(PASSIVE)") || st.statement == "COMMIT" {
			killed = append(killed, copyKilled(t, setup.path))
		}
		return nil
	}, nil)
	again := setup.open(t)
	setup.faults.clear()
	require.Equal(t, all, replayed(t, again, charges("acme", references...)))
	require.Greater(t, len(killed), 15)
	for _, path := range killed {
		dead := setup
		dead.path = path
		require.Equal(t, all, replayed(t, dead.open(t), charges("acme", references...)))
	}
}

func TestMergeOfDeletedEventsReadsLittle(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.generationSize, setup.tuning.chunkEntries = 1000, 10
	s := setup.open(t)
	references := numbered(7000)
	for i := 0; i < 7000; i += 1000 {
		b := at(0, charges("acme", references[i:i+1000]...))
		for j := range b.Events {
			if i+j >= 6990 {
				b.Events[j].ReceivedAt = b.Events[j].ReceivedAt.Add(2 * time.Hour)
			}
		}
		fresh(t, s, b)
	}
	require.EqualValues(t, 6990, pruned(t, s, 1))
	setup.faults.clear()
	read := func() int { return setup.faults.count("SELECT last, entries FROM chunks WHERE run") }
	for i, before := 0, 0; i < 2000; i++ {
		fresh(t, s, at(3, charges("acme", "")))
		require.LessOrEqual(t, read()-before, 3*mergedPerEvent/setup.tuning.chunkEntries)
		before = read()
	}
	require.Positive(t, read())
	require.Less(t, read(), 200, "a run has 100 chunks")
}

func TestCheckDuringPrune(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	fresh(t, s, at(0, forCustomer("c", numbered(20)...)))
	fresh(t, s, at(2, forCustomer("c", numbered(60)[20:]...)))
	db, err := s.file.open(readerPragmas())
	require.NoError(t, err)
	defer db.Close()
	during := false
	setup.faults.once("SELECT run, last, entries FROM chunks WHERE run IN", func() error {
		during = true
		require.EqualValues(t, 20, pruned(t, s, 1))
		for range 40 {
			fresh(t, s, at(2, charges("acme", "")))
		}
		return nil
	})
	_, problems, err := examineContents(t.Context(), db)
	require.NoError(t, err)
	require.True(t, during)
	require.Empty(t, problems)
}

func TestNoEventsBeyondTheLastNumber(t *testing.T) {
	s := newSetup(t).open(t)
	require.NoError(t, s.writer.do(t.Context(), func() error {
		s.writer.recent.newest, s.writer.recent.last = sortedrun.MaxSeq-1, sortedrun.MaxSeq-1
		return nil
	}))
	fresh(t, s, charges("acme", "a"))
	_, err := s.Append(t.Context(), charges("acme", "b"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	require.ErrorContains(t, err, "continue in a new one")
	replayed(t, s, charges("acme", "a"))
}

// The other events must stay accessible.
func TestContentThatIsNotJSON(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	b := charges("acme", "broken")
	b.Events[0].Content = "not JSON"
	id := fresh(t, s, b)[0]
	for _, reference := range numbered(3) {
		fresh(t, s, charges("acme", reference))
	}
	require.NoError(t, s.Close())
	s = setup.open(t)
	for range 20 {
		fresh(t, s, charges("acme", ""))
	}
	replayed(t, s, charges("acme", numbered(3)...))
	e, err := s.Get(t.Context(), "acme", id)
	require.NoError(t, err)
	require.Equal(t, "not JSON", e.Content)
	require.NoError(t, s.Close())
	report, err := Check(t.Context(), setup.path)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	setup.open(t)
}
