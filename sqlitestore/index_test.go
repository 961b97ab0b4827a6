package sqlitestore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func smallGenerations(t *testing.T) setup {
	t.Helper()
	s := newSetup(t)
	s.tuning.generationSize, s.tuning.chunkEntries, s.tuning.runsPerLevel = 4, 3, 2
	return s
}

func forCustomer(customer string, references ...string) chargeingest.Batch {
	b := charges("acme", references...)
	for i := range b.Events {
		setCustomer(&b.Events[i], customer, "ref-of-"+customer)
	}
	return b
}

func merged(t *testing.T, s *Store) int64 {
	t.Helper()
	return value[int64](t, s, "SELECT coalesce(sum(length(entries)), 0) / 10 FROM chunks JOIN runs ON runs.id = run")
}

func requireFound(t *testing.T, s *Store, customer string, ids []string, references []string) {
	t.Helper()
	for _, order := range []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending} {
		want := slices.Clone(ids)
		if order == chargeingest.Descending {
			slices.Reverse(want)
		}
		for limit := range 4 {
			for _, q := range []chargeingest.Query{{CustomerID: customer}, {CustomerReference: "ref-of-" + customer}} {
				q.Platform, q.Order, q.Limit = "acme", order, limit+1
				var got []string
				for {
					page, err := s.List(t.Context(), q)
					require.NoError(t, err)
					for _, e := range page.Events {
						got = append(got, e.ID)
					}
					if q.After = page.Next; q.After == "" {
						break
					}
				}
				require.Equal(t, want, got, "%+v", q)
			}
		}
	}
	for i, reference := range references {
		page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Reference: reference, Limit: 2})
		require.NoError(t, err)
		require.Len(t, page.Events, 1, reference)
		require.Equal(t, ids[i], page.Events[0].ID)
	}
}

func TestEventsAreFoundDuringMerges(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	var all []string
	references := numbered(60)
	for i, reference := range references {
		all = append(all, fresh(t, s, forCustomer("c", reference))...)
		fresh(t, s, forCustomer("other", ""))
		if i%7 == 0 {
			requireFound(t, s, "c", all, references[:i+1])
		}
		if i%20 == 5 {
			setup.path = copyKilled(t, setup.path)
			s = setup.open(t)
			requireFound(t, s, "c", all, references[:i+1])
		}
	}
	require.Greater(t, merged(t, s), int64(200), "most of about 300 entries are merged")
	require.Less(t, value[int64](t, s, "SELECT count(*) FROM runs"), int64(20))
	for i, reference := range references {
		require.Equal(t, all[i:i+1], replayed(t, s, forCustomer("c", reference)))
	}
	require.Equal(t, value[int64](t, s, "SELECT count(*) FROM events"), int64(len(references)*2))
}

func TestRolledBackMergeIsRepeated(t *testing.T) {
	setup := smallGenerations(t)
	s := setup.open(t)
	references := numbered(40)
	all := fresh(t, s, forCustomer("c", references[:20]...))
	for i := 20; i < len(references); i++ {
		code := []resultError{sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}[i%2]
		setup.faults.on([]string{"INSERT INTO chunks", "UPDATE merged", "COMMIT", "DELETE FROM chunks", "INSERT INTO runs"}[i%5], code)
		result, err := s.Append(t.Context(), forCustomer("c", references[i]))
		setup.faults.clear()
		if err == nil {
			all = append(all, result.Outcomes[0].ID)
		} else {
			all = append(all, ids(t, appended(t, s, forCustomer("c", references[i])), false)...)
		}
		requireFound(t, s, "c", all, references[:i+1])
	}
}

func TestPrunedEventsAreNotFound(t *testing.T) {
	for _, size := range []int{3, 10, 1000} {
		t.Run(fmt.Sprint(size, " events in a generation"), func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.generationSize = size
			s := setup.open(t)
			references := numbered(20)
			for _, reference := range references[:10] {
				fresh(t, s, at(0, forCustomer("c", reference)))
			}
			var kept []string
			for _, reference := range references[10:] {
				kept = append(kept, fresh(t, s, at(2, forCustomer("c", reference)))...)
			}
			require.EqualValues(t, 10, pruned(t, s, 1))
			requireFound(t, s, "c", kept, references[10:])
			again := fresh(t, s, at(3, forCustomer("c", references[:10]...)))
			for range 2 * size {
				if size > 100 {
					break
				}
				fresh(t, s, at(3, charges("acme", "")))
			}
			requireFound(t, s, "c", append(kept, again...), append(references[10:], references[:10]...))
			require.NoError(t, s.Close())
			requireFound(t, setup.open(t), "c", append(kept, again...), append(references[10:], references[:10]...))
		})
	}
}

func TestMigrateVersion1(t *testing.T) {
	setup := newSetup(t)
	execSQL(t, setup.path,
		fmt.Sprintf("PRAGMA application_id = %d", applicationID), scripts[0], "PRAGMA user_version = 1",
		"INSERT INTO platforms VALUES (1, 'acme')",
		`WITH RECURSIVE series (value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM series WHERE value < 20)
		 INSERT INTO events (seq, id, platform, reference, customer_id, customer_reference, product_item_id,
			timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content)
		 SELECT value, printf('chda_%026d', value), 1, 'ref-' || (value - 1), 'c', 'ref-of-c', 'item', 0, 0, 0, 0, 0, zeroblob(32),
			json_object('reference', 'ref-' || (value - 1), 'customer_id', 'c', 'customer_reference', 'ref-of-c') FROM series`)
	s := setup.open(t)
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("chda_%026d", i+1))
	}
	requireFound(t, s, "c", all, numbered(20))
	all = append(all, fresh(t, s, forCustomer("c", "new"))...)
	requireFound(t, s, "c", all, append(numbered(20), "new"))
	save := relay.Progress{Token: leased(t, s, vendor), Position: position(t, s, "acme", 5)}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, save))
	require.EqualValues(t, 16, status(t, s).Lag)
}

func TestSeqIsNotReusedAfterPrune(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, at(0, charges("acme", "a")))
	fresh(t, s, at(0, charges("acme", "b")))
	q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10}
	page, err := s.List(t.Context(), q)
	require.NoError(t, err)
	replayed(t, s, at(2, keyed("key", charges("acme", "a"))))
	require.EqualValues(t, 1, pruned(t, s, 1))
	require.NoError(t, s.Close())

	s = setup.open(t)
	q.After = page.Position
	page, err = s.List(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, page.Events)
	id := fresh(t, s, at(3, charges("acme", "c")))[0]
	page, err = s.List(t.Context(), q)
	require.NoError(t, err)
	require.Len(t, page.Events, 1)
	require.Equal(t, id, page.Events[0].ID)
}

func TestFrequentReopeningStillMerges(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.generationSize = 100
	var all, references []string
	for life := range 12 {
		s := setup.open(t)
		require.Less(t, s.writer.recent.young.events+s.writer.recent.old.events, 100)
		for i := range 60 {
			references = append(references, fmt.Sprint("r-", life, "-", i))
		}
		all = append(all, fresh(t, s, forCustomer("c", references[60*life:]...))...)
		page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", CustomerID: "c", Order: chargeingest.Ascending, Limit: 1000})
		require.NoError(t, err)
		require.Len(t, page.Events, len(all))
		require.Equal(t, all, replayed(t, s, forCustomer("c", references...)))
		require.NoError(t, s.Close())
	}
}
