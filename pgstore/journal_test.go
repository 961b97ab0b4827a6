package pgstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

var acme = relay.Stream{Destination: "https://billing.example", Platform: "acme"}

func leased(t *testing.T, j *Journal, s relay.Stream, holder string) relay.State {
	t.Helper()
	state, err := j.Lease(t.Context(), s, relay.LeaseRequest{Holder: holder, TTL: time.Minute})
	require.NoError(t, err)
	return state
}

func positionAfter(t *testing.T, s *Store, platform string, n int) relay.Progress {
	t.Helper()
	page, err := s.List(t.Context(), chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: n})
	require.NoError(t, err)
	require.Len(t, page.Events, n)
	position := page.Next
	if position == "" {
		position = page.Position
	}
	return relay.Progress{Position: position, LastEventID: page.Events[n-1].ID, Delivered: int64(n)}
}

func statusOf(t *testing.T, j *Journal, s relay.Stream) relay.Status {
	t.Helper()
	list, err := j.Status(t.Context(), s.Platform)
	require.NoError(t, err)
	for _, status := range list {
		if status.Stream == s {
			return status
		}
	}
	require.Fail(t, "no stream", "%v", s)
	return relay.Status{}
}

func TestJournalOfHostileTexts(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode }), Options{})
		j := s.Journal()
		hostile := "a\x00\xff\\ü\u2028"
		stream := relay.Stream{Destination: hostile, Platform: hostile + "p"}
		state := leased(t, j, stream, hostile)
		reason := relay.Reason{Status: 422, Code: hostile, Field: hostile, Message: hostile}
		at := time.Date(2026, 3, 1, 0, 0, 0, 123_456_000, time.UTC)
		require.NoError(t, j.Save(t.Context(), stream, relay.Progress{
			Token: state.Token, Position: hostile, LastEventID: hostile, Failure: &hostile,
			Entries: []relay.EntryChange{{EventID: hostile, State: relay.Dead, Attempt: relay.Attempt{At: at, Outcome: hostile, Reason: reason}}},
		}))
		clean := strings.NewReplacer("\x00", "\ufffd", "\xff", "\ufffd").Replace(hostile)
		status := statusOf(t, j, stream)
		require.Equal(t, []string{hostile, hostile, clean}, []string{status.Position, status.LastEventID, status.Failure})
		require.EqualValues(t, -1, status.Lag)
		n, err := j.Resolve(t.Context(), relay.Resolution{Stream: stream, Action: relay.Skip, State: relay.Dead, Code: hostile, By: hostile, At: at})
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		page, err := j.Entries(t.Context(), relay.EntryQuery{Stream: stream, Code: hostile, Limit: 1})
		require.NoError(t, err)
		cleanReason := relay.Reason{Status: 422, Code: clean, Field: clean, Message: clean}
		require.Equal(t, []relay.Entry{{
			EventID: hostile, State: relay.Skipped, Attempts: 1, Since: at, Reason: cleanReason,
			History: []relay.Attempt{{At: at, Outcome: clean, Reason: cleanReason}, {At: at, Outcome: "skip", By: clean}},
		}}, page.Entries)
	}
}

func TestResolveManyEntries(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	j := s.Journal()
	progress := relay.Progress{Token: leased(t, j, acme, "a").Token}
	for i := range 2*resolveBatch + 1 {
		c := relay.EntryChange{EventID: fmt.Sprint(i), State: relay.Dead, Attempt: relay.Attempt{At: pruneDay(0)}}
		if i%2 == 0 {
			c.Attempt.Reason.Code = "OTHER"
		}
		progress.Entries = append(progress.Entries, c)
	}
	require.NoError(t, j.Save(t.Context(), acme, progress))
	transactions := func() (n int) {
		require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT count(DISTINCT xmin::text) FROM "+s.options.Schema+".relay_entries").Scan(&n))
		return n
	}
	r := relay.Resolution{Stream: acme, Action: relay.Retry, State: relay.Dead, Code: "OTHER", By: "eve", At: pruneDay(1)}
	for _, step := range []struct {
		state        relay.EntryState
		code         string
		n            int64
		transactions int
	}{{relay.Dead, "OTHER", resolveBatch + 1, 3}, {relay.Dead, "", resolveBatch, 3}, {relay.Parked, "", 2*resolveBatch + 1, 3}} {
		r.State, r.Code = step.state, step.code
		n, err := j.Resolve(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, step.n, n)
		require.Equal(t, step.transactions, transactions(), "a Save must not wait for all entries")
	}
	var unequal int
	require.NoError(t, s.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+s.options.Schema+".relay_entries WHERE jsonb_array_length(history) <> 3").Scan(&unequal))
	require.Zero(t, unequal, "no entry is resolved twice")
	require.EqualValues(t, 2*resolveBatch+1, statusOf(t, j, acme).Parked)
}

func TestPlatformsInOrderOfBytes(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	names := []string{"\x00", "\x00b", "A", `\`, `\5c`, `\\`, "a", "a\x00", "a\x00b", "a\x01", `a\5c`, "aä", "aä\x00", "aäb", "aä\xff", "aå", "b", "ä", "å", "å\xff", "\xff"}
	for _, name := range names {
		appended(t, s, charges(name, "r"))
	}
	appended(t, s, charges("zz", "r"))
	_, err := s.pool.Exec(t.Context(), "UPDATE "+s.options.Schema+".platforms SET last = 0 WHERE name = 'zz'")
	require.NoError(t, err)
	for _, limit := range []int{1, 2, 5, 100} {
		var all []string
		after := ""
		for {
			page, err := s.Platforms(t.Context(), after, limit)
			require.NoError(t, err)
			all = append(all, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1]
		}
		require.Equal(t, names, all, "limit %d", limit)
	}
}

func expireLease(t *testing.T, s *Store) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), "UPDATE "+s.options.Schema+".relay_streams SET leased_until = clock_timestamp()")
	require.NoError(t, err)
}

func TestLeaseUsesTheClockOfTheServer(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	j := s.Journal()
	request := relay.LeaseRequest{Holder: "a", TTL: time.Hour}
	first, err := j.Lease(t.Context(), acme, request)
	require.NoError(t, err)
	extended, err := j.Lease(t.Context(), acme, request)
	require.NoError(t, err)
	require.Equal(t, first.Token, extended.Token)
	var rest float64
	query := "SELECT extract(epoch FROM leased_until - clock_timestamp()) FROM " + s.options.Schema + ".relay_streams"
	require.NoError(t, s.pool.QueryRow(t.Context(), query).Scan(&rest))
	require.InDelta(t, time.Hour.Seconds(), rest, 60)
	_, err = j.Lease(t.Context(), acme, relay.LeaseRequest{Holder: "b", TTL: time.Hour})
	require.ErrorIs(t, err, relay.ErrLeaseHeld)
	expireLease(t, s)
	second, err := j.Lease(t.Context(), acme, relay.LeaseRequest{Holder: "b", TTL: time.Hour})
	require.NoError(t, err)
	require.Greater(t, second.Token, first.Token)
	require.ErrorIs(t, j.Save(t.Context(), acme, relay.Progress{Token: first.Token, Position: "p"}), relay.ErrLeaseLost)
	require.Empty(t, statusOf(t, j, acme).Position)
	require.NoError(t, j.Save(t.Context(), acme, relay.Progress{Token: second.Token, Position: "p"}))
}

func TestLeaseRace(t *testing.T) {
	parallel(t)
	s := newStore(t, newPool(t, func(c *pgxpool.Config) { c.MaxConns = 16 }), Options{})
	j := s.Journal()
	for range 20 {
		results := make(chan error)
		for i := range 8 {
			go func() {
				_, err := j.Lease(t.Context(), acme, relay.LeaseRequest{Holder: fmt.Sprint(i), TTL: time.Hour})
				results <- err
			}()
		}
		held := 0
		for range 8 {
			if err := <-results; err != nil {
				require.ErrorIs(t, err, relay.ErrLeaseHeld)
				held++
			}
		}
		require.Equal(t, 7, held)
		expireLease(t, s)
	}
	state, err := j.Lease(t.Context(), acme, relay.LeaseRequest{Holder: "last", TTL: time.Hour})
	require.NoError(t, err)
	require.EqualValues(t, 21, state.Token)
}

func TestJournalIsDurable(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["synchronous_commit"] = "off" })
	schema := newSchema(t, pool)
	newStore(t, newPool(t), Options{Schema: schema})
	for _, c := range []struct {
		allow bool
		want  string
	}{{true, "off"}, {false, "on"}} {
		s := newStore(t, pool, Options{Schema: schema, AllowNonDurable: true})
		s.options.AllowNonDurable = c.allow
		var setting string
		require.NoError(t, s.Journal().write(t.Context(), "acme", func(tx pgx.Tx) error {
			return tx.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&setting)
		}))
		require.Equal(t, c.want, setting)
	}
}

func TestJournalPrivileges(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	newStore(t, pool, Options{Schema: schema})
	role := schema + "_role"
	ingest, _, _ := strings.Cut(documented(t, "../docs/postgres.md", "Privileges", schema), "-- only")
	ingest = strings.NewReplacer("charges;", role+";", " chargeingest ", " "+schema+" ").Replace(ingest)
	_, err := pool.Exec(t.Context(), "CREATE ROLE "+role+";"+ingest+"REVOKE UPDATE ON "+schema+".relay_streams FROM "+role)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
	})
	as := newPool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = role })
	s := newStore(t, as, Options{Schema: schema})
	_, err = s.Journal().Lease(t.Context(), acme, relay.LeaseRequest{Holder: "a", TTL: time.Hour})
	require.ErrorContains(t, err, fmt.Sprintf(`the role %s needs to be granted UPDATE on "%s".relay_streams`, role, schema))
	_, err = pool.Exec(t.Context(), ingest)
	require.NoError(t, err)
	state := leased(t, s.Journal(), acme, "a")
	require.NoError(t, s.Journal().Save(t.Context(), acme, relay.Progress{Token: state.Token, Entries: []relay.EntryChange{
		{EventID: "e", State: relay.Dead, Attempt: relay.Attempt{At: pruneDay(0)}},
	}}))
	_, err = s.Journal().Resolve(t.Context(), relay.Resolution{Stream: acme, Action: relay.Retry, EventIDs: []string{"e"}, By: "o", At: pruneDay(0)})
	require.NoError(t, err)
}

func TestJournalPlans(t *testing.T) {
	s := newStore(t, newPool(t), Options{})
	sql := s.sql.relay
	for _, c := range []struct {
		statement string
		arguments []any
	}{
		{sql.due, []any{"acme", "d", 10}},
		{sql.status, []any{"acme"}},
		{sql.eventState, []any{"acme", "d", "e"}},
		{sql.entries + " AND e.state = 'dead' ORDER BY e.number LIMIT $4", []any{"acme", "d", 0, 10}},
		{sql.undelivered, []any{"acme", []string{"e"}}},
		{sql.lockStreams, []any{"acme"}},
	} {
		var plan []string
		require.NoError(t, s.writeTransaction(t.Context(), func(tx pgx.Tx) error {
			rows, err := tx.Query(t.Context(), "EXPLAIN (COSTS off) "+c.statement, c.arguments...)
			if err == nil {
				plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			return err
		}))
		require.NotContains(t, strings.Join(plan, "\n"), "Seq Scan")
	}
}
