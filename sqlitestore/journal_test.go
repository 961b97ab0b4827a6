package sqlitestore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

var vendor = relay.Stream{Destination: "vendor", Platform: "acme"}

func leased(t *testing.T, s *Store, stream relay.Stream) int64 {
	t.Helper()
	state, err := s.Journal().Lease(t.Context(), stream, relay.LeaseRequest{Holder: "a", TTL: time.Hour})
	require.NoError(t, err)
	return state.Token
}

func parked(id string) []relay.EntryChange {
	return []relay.EntryChange{{EventID: id, State: relay.Parked, NextAttempt: received(), Attempt: relay.Attempt{At: received()}}}
}

func startSave(t *testing.T, s *Store, p relay.Progress) <-chan error {
	t.Helper()
	queued := func() int {
		s.writer.changes.mu.Lock()
		defer s.writer.changes.mu.Unlock()
		return len(s.writer.changes.queued)
	}
	before, done := queued(), make(chan error, 1)
	go func() { done <- s.Journal().Save(context.WithoutCancel(t.Context()), vendor, p) }()
	for queued() == before {
		runtime.Gosched()
	}
	return done
}

func status(t *testing.T, s *Store) relay.Status {
	t.Helper()
	list, err := s.Journal().Status(t.Context(), vendor.Platform)
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}

// position returns the cursor after n events.
func position(t *testing.T, s *Store, platform string, n int) string {
	t.Helper()
	page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: n})
	require.NoError(t, err)
	require.Len(t, page.Events, n)
	return page.Position
}

func TestSavesShareTransactions(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	token := leased(t, s, vendor)
	release := hold(s)
	var saves []<-chan error
	for i := range 3 {
		saves = append(saves, startSave(t, s, relay.Progress{Token: token, Delivered: 1, Entries: parked(fmt.Sprint(i))}))
	}
	refused := startSave(t, s, relay.Progress{Token: token + 1, Delivered: 100})
	first, second := send(t.Context(), s, charges("acme", "a")), send(t.Context(), s, charges("globex", "a"))
	setup.faults.clear()
	release()
	require.NoError(t, (<-first).Err)
	require.NoError(t, (<-second).Err)
	for _, saved := range saves {
		require.NoError(t, <-saved)
	}
	require.ErrorIs(t, <-refused, relay.ErrLeaseLost)
	require.Equal(t, 1, setup.faults.count("COMMIT"))
	require.EqualValues(t, 3, status(t, s).Delivered)

	setup.faults.clear()
	for range 10 {
		leased(t, s, vendor)
	}
	require.Zero(t, setup.faults.count("INSERT")+setup.faults.count("UPDATE relay"), "an extension writes nothing")
}

func TestFailedChangeInTransaction(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	token := leased(t, s, vendor)
	for _, failing := range []string{"INSERT INTO relay_entries", "INSERT INTO requests", "UPDATE relay_streams SET position"} {
		release := hold(s)
		position := startSave(t, s, relay.Progress{Token: token, Delivered: 1, Position: "elsewhere"})
		entry := startSave(t, s, relay.Progress{Token: token, Delivered: 1, Entries: parked(failing)})
		plain := startSave(t, s, relay.Progress{Token: token, Delivered: 1})
		events := send(t.Context(), s, charges("acme", failing))
		request := send(t.Context(), s, keyed(failing, charges("acme", "")))
		setup.faults.on(failing, resultError(sqlite3.SQLITE_CONSTRAINT))
		before := status(t, s)
		release()
		require.NoError(t, (<-events).Err)
		require.NoError(t, <-plain)
		for call, err := range map[string]error{
			"INSERT INTO relay_entries": <-entry, "INSERT INTO requests": (<-request).Err, "UPDATE relay_streams SET position": <-position,
		} {
			if call == failing {
				require.ErrorIs(t, err, resultError(sqlite3.SQLITE_CONSTRAINT), call)
			} else {
				require.NoError(t, err, call)
			}
		}
		setup.faults.clear()
		saved := int64(3)
		if strings.Contains(failing, "relay") {
			saved = 2
		}
		require.Equal(t, before.Delivered+saved, status(t, s).Delivered, failing)
	}
	require.EqualValues(t, 2, status(t, s).Parked)
}

func TestFailedCommitOfChange(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	token := leased(t, s, vendor)
	save := func(id string) error {
		return s.Journal().Save(t.Context(), vendor, relay.Progress{Token: token, Delivered: 1, LastEventID: id, Entries: parked(id)})
	}
	require.NoError(t, save("a"))
	setup.faults.once("COMMIT", func() error { return errIO })
	require.ErrorIs(t, save("b"), errIO)
	require.NoError(t, save("c"), "the database was reopened")
	now := status(t, s)
	require.Equal(t, now.Delivered, now.Parked)
	require.Equal(t, "c", now.LastEventID)
	setup.faults.on("INSERT INTO relay_entries", resultError(sqlite3.SQLITE_FULL))
	require.ErrorIs(t, save("d"), resultError(sqlite3.SQLITE_FULL))
	setup.faults.clear()
	require.Equal(t, now, status(t, s))

	require.NoError(t, s.Close())
	require.ErrorIs(t, save("e"), chargeingest.ErrClosed)
	again := status(t, setup.open(t))
	require.Equal(t, now, again)
}

func TestPruneKeepsUndelivered(t *testing.T) {
	var log bytes.Buffer
	setup := newSetup(t)
	setup.tuning.pruneBatch = 3
	setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := setup.open(t)
	ids := fresh(t, s, at(0, charges("acme", numbered(8)...)))
	for i := range 3 { // with the events 1 to 3, 4 to 6, and two new ones
		key := slices.Concat(numbered(8)[1+3*i:min(8, 4+3*i)], []string{fmt.Sprint("own-", i)})
		ids = append(ids, appended(t, s, at(0, keyed(fmt.Sprint(i), charges("acme", key...))))[len(key)-1].ID)
	}
	others := fresh(t, s, at(0, charges("globex", "a", "b")))
	last := position(t, s, "acme", len(ids))

	token := leased(t, s, vendor)
	require.Zero(t, pruned(t, s, 1)-2, "a stream at the beginning keeps all events of its platform")
	require.Equal(t, ids, listed(t, s, "acme"))
	require.Empty(t, listed(t, s, "globex"), others)
	require.Contains(t, log.String(), "destinations=[vendor]")
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))

	state := func(id string, state relay.EntryState) relay.EntryChange {
		return relay.EntryChange{EventID: id, State: state, Attempt: relay.Attempt{At: received()}}
	}
	progress := relay.Progress{Token: token, Position: position(t, s, "acme", 8), LastEventID: ids[0], Entries: []relay.EntryChange{
		state(ids[1], relay.Parked), state(ids[4], relay.Dead), state(ids[5], relay.Dead), state(ids[7], relay.DeliveredState),
	}}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	_, err := s.Journal().Resolve(t.Context(), relay.Resolution{Stream: vendor, Action: relay.Skip, EventIDs: ids[5:6], By: "eve", At: received()})
	require.NoError(t, err)
	require.Zero(t, pruned(t, s, 1), "each key has an event that is not delivered, and the rest is at the position")

	progress = relay.Progress{Token: token, Position: last, LastEventID: ids[10]}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	require.EqualValues(t, 1, pruned(t, s, 1), "the first event; the others have a parked or dead event, or the one at the position, in their key")
	progress.Entries = []relay.EntryChange{state(ids[1], relay.DeliveredState)}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	require.EqualValues(t, 4, pruned(t, s, 1))
	require.Equal(t, slices.Concat(ids[4:8], ids[9:]), listed(t, s, "acme"))

	second := relay.Stream{Destination: "archive", Platform: "acme"}
	leased(t, s, second)
	for _, stream := range []relay.Stream{vendor, second} {
		require.Zero(t, pruned(t, s, 1))
		_, err := s.Journal().Resolve(t.Context(), relay.Resolution{Stream: stream, Action: relay.Retire, By: "eve", At: received()})
		require.NoError(t, err)
	}
	log.Reset()
	require.EqualValues(t, 6, pruned(t, s, 1))
	require.Empty(t, log.String())
}

func TestResolveManyEntries(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	progress := relay.Progress{Token: leased(t, s, vendor)}
	for i := range 3*resolveBatch + 1 {
		c := relay.EntryChange{EventID: fmt.Sprint(i), State: relay.Dead, Attempt: relay.Attempt{At: received()}}
		if i%3 == 0 {
			c.Attempt.Reason.Code = "OTHER"
		}
		progress.Entries = append(progress.Entries, c)
	}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	r := relay.Resolution{Stream: vendor, Action: relay.Retry, State: relay.Dead, Code: "OTHER", By: "eve", At: received()}
	n, err := s.Journal().Resolve(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, resolveBatch+1, n)
	setup.faults.clear()
	r.Code = ""
	n, err = s.Journal().Resolve(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, 2*resolveBatch, n)
	require.Greater(t, setup.faults.count("COMMIT"), 1, "appends must not wait for all entries")
	r.State = relay.Parked
	n, err = s.Journal().Resolve(t.Context(), r)
	require.NoError(t, err)
	require.EqualValues(t, 3*resolveBatch+1, n)
	now := status(t, s)
	require.Zero(t, now.Dead)
	require.Equal(t, n, now.Parked)
	page, err := s.Journal().Entries(t.Context(), relay.EntryQuery{Stream: vendor, Limit: 10_000})
	require.NoError(t, err)
	for _, e := range page.Entries {
		require.Len(t, e.History, 3, "no entry is resolved twice")
	}
}

func TestLargeLagIsEstimated(t *testing.T) {
	s := newSetup(t).open(t)
	leased(t, s, vendor)
	many := make([]string, maxExactLag/2+1)
	for range 2 {
		appended(t, s, charges("acme", many...))
	}
	lag := status(t, s).Lag
	require.EqualValues(t, 2*len(many), lag, "exact with a single platform")
	appended(t, s, charges("globex", many[:100]...))
	appended(t, s, charges("acme", many[:100]...))
	require.Equal(t, lag+200, status(t, s).Lag, "events of globex are among the last 200")
}

func TestBackupContainsJournal(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	ids := fresh(t, s, charges("acme", numbered(3)...))
	progress := relay.Progress{Token: leased(t, s, vendor), Position: position(t, s, "acme", 1), LastEventID: ids[0], Delivered: 1, Entries: parked(ids[0])}
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	backup := setup.path + ".backup"
	require.NoError(t, s.Backup(t.Context(), backup))
	before := status(t, s)
	progress.Position, progress.LastEventID = position(t, s, "acme", 3), ids[2]
	require.NoError(t, s.Journal().Save(t.Context(), vendor, progress))
	require.Zero(t, status(t, s).Lag)
	require.NoError(t, s.Close())

	report, err := Check(t.Context(), backup)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	_, err = Restore(t.Context(), backup, setup.path)
	require.NoError(t, err)
	s = setup.open(t)
	require.Equal(t, before, status(t, s))
	require.EqualValues(t, 2, before.Lag, "the older position skips nothing")
	state, err := s.Journal().Lease(t.Context(), vendor, relay.LeaseRequest{Holder: "b", TTL: time.Hour})
	require.NoError(t, err)
	require.Equal(t, before.Position, state.Position)
	require.Greater(t, state.Token, progress.Token)
}

func TestCheckOfJournal(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	require.NoError(t, s.Journal().Save(t.Context(), vendor, relay.Progress{Token: leased(t, s, vendor), Entries: parked("a")}))
	require.NoError(t, s.Close())
	for problem, statement := range map[string]string{
		"rows that refer to missing rows":            "UPDATE relay_entries SET stream = 99",
		"entries of the journal that cannot be read": "UPDATE relay_entries SET history = '['",
	} {
		damaged := newSetup(t)
		copyFile(t, setup.path, damaged.path)
		execSQL(t, damaged.path, "PRAGMA foreign_keys = 0", statement)
		report, err := Check(t.Context(), damaged.path)
		require.NoError(t, err)
		require.Len(t, report.Problems, 1, problem)
		require.ErrorContains(t, report.Problems[0], problem)
	}
}

func TestJournalPlans(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	plan := func(query string) (steps string) {
		query = "EXPLAIN QUERY PLAN " + regexp.MustCompile(`\?\d*`).ReplaceAllString(query, "1")
		require.NoError(t, s.writer.do(t.Context(), func() error {
			rows, err := s.writer.session.query(query)
			steps = fmt.Sprint(rows)
			return err
		}))
		return steps
	}
	require.Contains(t, plan(dueSQL), "SEARCH relay_entries USING INDEX relay_entries_due (stream=?)")
	require.NotContains(t, plan(dueSQL), "TEMP B-TREE")
	require.Contains(t, plan(statusSQL), "SEARCH events USING COVERING INDEX events_platform (platform=? AND rowid>?)")
	require.NotContains(t, plan(statusSQL), "SCAN relay_entries")
	for _, state := range []relay.EntryState{"", relay.Dead} {
		require.NotContains(t, plan(entriesSQL(state)), "TEMP B-TREE")
	}
	undelivered := plan(undeliveredSQL)
	require.NotContains(t, undelivered, "SCAN")
}
