package sqlitestore

import (
	"crypto/sha256"
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

var migrateFlag = flag.Int("migrate", 2000, "number of events of TestMigrateEachVersion")

// oldEvent is the event with a number from 0.
func oldEvent(n int) chargeingest.NewEvent {
	e := charge(fmt.Sprintf("ref-%d", n))
	e.ProductItemID, e.PricingPlanSubscriptionID = fmt.Sprintf("item-%d", n%7), fmt.Sprintf("sub-%d", n%3)
	e.ReceivedAt = received().Add(time.Duration(n) * time.Millisecond)
	if n%5 == 0 {
		e.Reference = ""
	}
	e.Content = fmt.Sprintf(`{"product_item_id":%q,"pricing_plan_subscription_id":%q,"reference":%q,"timestamp":"2026-03-01T12:00:00Z"}`,
		e.ProductItemID, e.PricingPlanSubscriptionID, e.Reference)
	e.Digest = sha256.Sum256([]byte(e.Content))
	if n%4 > 0 {
		setCustomer(&e, fmt.Sprintf("customer-%d", n%11), "")
	}
	return e
}

func oldID(n int) string { return storekit.FirstID(oldEvent(n).ReceivedAt) }

const eventsPerKey = 50

func oldKeyed(n int) chargeingest.Batch {
	return chargeingest.Batch{
		Platform: "acme", Route: chargeingest.RouteSingle, IdempotencyKey: fmt.Sprintf("key-%d", n),
		Digest: chargeingest.Digest{1}, Events: []chargeingest.NewEvent{oldEvent(n)},
	}
}

// makeVersion makes a database as it was before later migrations.
func makeVersion(t *testing.T, path string, version, events int) {
	t.Helper()
	execSQL(t, path, fmt.Sprintf("PRAGMA application_id = %d", applicationID), scripts[0], "INSERT INTO platforms VALUES (1, 'acme')")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	for n := range events {
		e := oldEvent(n)
		_, err := tx.Exec("INSERT INTO events VALUES (?, ?, 1, nullif(?, ''), nullif(?, ''), NULL, ?, NULL, ?, ?, ?, 0, ?, ?, ?, ?)", n+1, oldID(n), e.Reference, e.CustomerID, e.PricingPlanSubscriptionID, e.ProductItemID,
			e.Timestamp.Unix(), e.Timestamp.Nanosecond(), e.ReceivedAt.Unix(), e.ReceivedAt.Nanosecond(), e.Digest[:], e.Content)
		require.NoError(t, err)
		if n%eventsPerKey > 0 {
			continue
		}
		b := oldKeyed(n)
		_, err = tx.Exec("INSERT INTO requests VALUES (?, 1, ?, ?, ?, ?)", n+1, b.IdempotencyKey, string(b.Route), b.Digest[:], oldID(n))
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO request_events VALUES (?, 0, ?)", n+1, n+1)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	scripts := slices.Clone(scripts)
	if version > movingVersion {
		scripts[movingVersion] = "INSERT INTO moved_events SELECT " + movedColumns + " FROM events;" + scripts[movingVersion]
	}
	execSQL(t, path, append(scripts[1:version:version], fmt.Sprintf("PRAGMA user_version = %d", version),
		"CREATE VIEW others AS SELECT seq, reference, customer_id FROM events")...)
}

func requireMigrated(t *testing.T, s *Store, events int) {
	t.Helper()
	count := func(q chargeingest.Query) (n int) {
		q.Platform, q.Order, q.Limit = "acme", chargeingest.Ascending, 1000
		for {
			page, err := s.List(t.Context(), q)
			require.NoError(t, err)
			for _, e := range page.Events {
				if q.ProductItemID+q.CustomerID+q.PricingPlanSubscriptionID == "" {
					require.Equal(t, oldID(n), e.ID)
					require.Equal(t, oldEvent(n).Content, e.Content)
				}
				n++
			}
			if q.After = page.Next; q.After == "" {
				return n
			}
		}
	}
	matching := func(match func(chargeingest.NewEvent) bool) (n int) {
		for i := range events {
			if match(oldEvent(i)) {
				n++
			}
		}
		return n
	}
	require.Equal(t, events, count(chargeingest.Query{}))
	require.Equal(t, matching(func(e chargeingest.NewEvent) bool { return e.ProductItemID == "item-3" }), count(chargeingest.Query{ProductItemID: "item-3"}))
	require.Equal(t, matching(func(e chargeingest.NewEvent) bool {
		return e.CustomerID == "customer-3" && e.PricingPlanSubscriptionID == "sub-1"
	}), count(chargeingest.Query{CustomerID: "customer-3", PricingPlanSubscriptionID: "sub-1"}))
	replay := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
	var want []string
	for n := 1; n < events; n += max(1, events/40) {
		found, err := s.Get(t.Context(), "acme", oldID(n))
		require.NoError(t, err)
		require.Equal(t, oldEvent(n).Content, found.Content)
		if e := oldEvent(n); e.Reference != "" {
			replay.Events, want = append(replay.Events, e), append(want, oldID(n))
		}
	}
	require.Equal(t, want, ids(t, appended(t, s, replay), true))
	for n := 0; n < events; n += eventsPerKey {
		require.Equal(t, []string{oldID(n)}, ids(t, appended(t, s, oldKeyed(n)), true))
	}
	_, err := s.Get(t.Context(), "acme", storekit.FirstID(received().Add(time.Hour)))
	require.ErrorIs(t, err, chargeingest.ErrNotFound)
}

func TestMigrateEachVersion(t *testing.T) {
	t.Parallel()
	for version := 1; version < len(scripts); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			setup := newSetup(t)
			setup.tuning.moveBatch = max(1, *migrateFlag/10)
			makeVersion(t, setup.path, version, *migrateFlag)
			if version != movingVersion {
				contents, err := Backup(t.Context(), setup.path, setup.path+".backup")
				require.NoError(t, err)
				require.EqualValues(t, *migrateFlag, contents.Events)
				restored := filepath.Join(t.TempDir(), "restored.db")
				_, err = Restore(t.Context(), setup.path+".backup", restored)
				require.NoError(t, err)
				again := setup
				again.path = restored
				requireMigrated(t, again.open(t), *migrateFlag)
			}
			begin := time.Now()
			s := setup.open(t)
			t.Log("opened after", time.Since(begin))
			requireMigrated(t, s, *migrateFlag)
			fresh(t, s, at(1, charges("acme", "new")))
			deleted, err := s.Prune(t.Context(), oldEvent(*migrateFlag/2).ReceivedAt)
			require.NoError(t, err)
			require.EqualValues(t, *migrateFlag/2, deleted)
			require.NoError(t, s.Close())
			report, err := Check(t.Context(), setup.path)
			require.NoError(t, err)
			require.Empty(t, report.Problems)
		})
	}
}

// -rounds 1 tries all numbers.
func tryMigrations(t *testing.T, try func(setup setup, path string, n int) (more bool)) {
	t.Helper()
	step := 7
	if *roundsFlag > 0 {
		step = 1
	}
	for n := 1; ; n += step {
		setup := newSetup(t)
		setup.tuning.moveBatch = 70
		path, err := realPath(setup.path)
		require.NoError(t, err)
		makeVersion(t, path, 7, triedEvents)
		if !try(setup, path, n) {
			require.Greater(t, n, 100)
			return
		}
	}
}

const triedEvents = 300

// Each write, truncation and sync of a migration may be the last one.
func TestInterruptedMigration(t *testing.T) {
	t.Parallel()
	tryMigrations(t, func(setup setup, _ string, n int) bool {
		cut, more := openUntil(t, setup, n)
		if more {
			dead := newSetup(t)
			cut.write(t, dead.path)
			requireMigrated(t, dead.open(t), triedEvents)
		}
		return more
	})
}

func TestPowerCutDuringMigration(t *testing.T) {
	t.Parallel()
	first := seed(t)
	tryMigrations(t, func(setup setup, path string, n int) bool {
		m, err := newDiskModel(path, rand.New(rand.NewPCG(first, uint64(n))), diskPlan{cutAt: n}, func() {}, nil)
		require.NoError(t, err)
		disks.Store(path, disk(m.operate))
		setup.tuning.onStateSynced = m.stateSynced
		s, openErr := open(t.Context(), path, setup.options, setup.tuning)
		m.stop()
		if openErr == nil {
			_ = s.Close()
		}
		disks.Delete(path)
		if m.ops < n {
			require.NoError(t, openErr)
			return false
		}
		require.NoError(t, m.restore())
		setup.tuning.onStateSynced = func([]byte) {}
		requireMigrated(t, setup.open(t), triedEvents)
		return true
	})
}

func TestCheckOfAnEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "charges.db")
	makeVersion(t, path, movingVersion-1, 10)
	execSQL(t, path, "UPDATE sqlite_sequence SET seq = 9", "UPDATE events SET id = 'chda_0' WHERE seq = 5")
	report, err := Check(t.Context(), path)
	require.NoError(t, err)
	require.Len(t, report.Problems, 2)
	require.ErrorContains(t, report.Problems[0], "events beyond the last number: 1")
	require.ErrorContains(t, report.Problems[1], "not after that of the event before: 1")
}

func TestToolsDuringMigration(t *testing.T) {
	setup := newSetup(t)
	makeVersion(t, setup.path, movingVersion, 10)
	report, err := Check(t.Context(), setup.path)
	require.NoError(t, err)
	require.Len(t, report.Problems, 1)
	require.ErrorContains(t, report.Problems[0], "only partly upgraded: open it with a store")
	_, err = Backup(t.Context(), setup.path, setup.path+".backup")
	require.ErrorContains(t, err, "only partly upgraded: open it with a store")
	requireMigrated(t, setup.open(t), 10)
}
