package pgstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestLookupFetchesOnce(t *testing.T) {
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	keyed := charges("acme", "a", "b")
	keyed.IdempotencyKey = "key"
	appended(t, s, keyed)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	l := &lookup{
		conn: conn.Conn(), sql: s.sql,
		unfetchedEvents: map[scopedName]bool{{"acme", "a"}: true}, unfetchedRecords: map[scopedName]bool{{"acme", "key"}: true},
	}
	for range 2 {
		e, err := l.EventByReference(t.Context(), "acme", "a")
		require.NoError(t, err)
		require.Equal(t, keyed.Events[0].Content, e.Content)
		r, err := l.IdempotencyRecord(t.Context(), "acme", "key")
		require.NoError(t, err)
		require.Len(t, r.Events, 2)
		require.Equal(t, 3*len(e.Content), l.fetchedBytes)
	}
}

func TestContentBeyondPrefetch(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	s := newStore(t, pool, Options{})
	large := func(reference string) chargeingest.NewEvent {
		e := charge(reference)
		e.Content = strings.TrimSuffix(e.Content, "}") + `,"description":"` + strings.Repeat("x", 7<<20) + `"}`
		return e
	}
	var references []string
	for i := range 4 {
		references = append(references, fmt.Sprint(i))
		b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{large(fmt.Sprint(i))}}
		appended(t, s, b)
	}
	keyedAgain := func(i int) chargeingest.Batch {
		b := chargeingest.Batch{Platform: "keyed", Route: chargeingest.RouteSingle, IdempotencyKey: fmt.Sprint(i), Events: []chargeingest.NewEvent{large("")}}
		b.Events[0].Reference = ""
		return b
	}
	for i := range 4 {
		appended(t, s, keyedAgain(i))
	}
	s.writer.lookupFirst = true
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			result, err := s.Append(t.Context(), keyedAgain(i))
			require.NoError(t, err)
			require.True(t, result.Outcomes[0].Replayed)
			require.Len(t, result.Outcomes[0].Content, len(large("").Content))
			other := charges("keyed")
			other.Route, other.IdempotencyKey, other.Events = chargeingest.RouteSingle, fmt.Sprint(i), charges("keyed", "").Events
			other.Digest[0] = 1
			other.Events[0].Digest[0] = 1
			_, err = s.Append(t.Context(), other)
			var conflict *chargeingest.ConflictError
			require.ErrorAs(t, err, &conflict)
			require.True(t, conflict.IdempotencyKey)
		})
	}
	all.Wait()
	for _, reference := range references {
		b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{large(reference)}}
		_, replayed := appended(t, s, b)
		require.Equal(t, []bool{true}, replayed)
	}
	again := charges("acme", references...)
	for i := range again.Events {
		again.Events[i] = large(references[i])
	}
	_, replayed := appended(t, s, again)
	require.Equal(t, []bool{true, true, true, true}, replayed)
	again = charges("acme", references...)
	again.Duplicates = chargeingest.ReturnOriginal
	for i := range again.Events {
		again.Events[i].Digest[0] = 1
	}
	_, err := s.Append(t.Context(), again)
	require.ErrorIs(t, err, chargeingest.ErrResponseTooLarge)

	page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10, MaxBytes: 15 << 20})
	require.NoError(t, err)
	require.Len(t, page.Events, 2)
	require.NotEmpty(t, page.Next)
}

func TestLookupsUseIndexes(t *testing.T) {
	pool := newPool(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	s := newStore(t, pool, Options{})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	plan := func(statement, arguments string) string {
		results, err := conn.Conn().PgConn().Exec(t.Context(), "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; PREPARE lookup AS "+statement+
			"; EXPLAIN EXECUTE lookup"+arguments+"; DEALLOCATE lookup; COMMIT").ReadAll()
		require.NoError(t, err)
		var lines []string
		for _, result := range results {
			for _, row := range result.Rows {
				lines = append(lines, string(row[0]))
			}
		}
		return strings.Join(lines, "\n")
	}
	for statement, arguments := range map[string]string{
		s.sql.findReferences: "('{a}', '{b}', 1)", s.sql.findReference: "('a', 'b')",
		s.sql.findRecords: "('{a}', '{b}', 1)", s.sql.findRecord: "('a', 'b')", s.sql.get: "('a', 'b')",
	} {
		found := plan(statement, arguments)
		require.Contains(t, found, "Index Cond")
		require.NotContains(t, found, "Seq Scan")
		require.NotRegexp(t, `Index Cond: \(platform = [^)]*\)
`, found)
	}
	conn.Release()

	keyed := charges("acme", "a")
	keyed.IdempotencyKey = "key"
	ids, _ := appended(t, s, keyed)
	many := charges("acme", numbered("many", 50)...)
	appended(t, s, many)
	for range 10 {
		appended(t, s, many)
		appended(t, s, keyed)
		appended(t, s, charges("acme", "a"))
		_, err := s.Get(t.Context(), "acme", ids[0])
		require.NoError(t, err)
		listed(t, s, "acme")
	}
	custom := 0
	count := func(conn interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) {
		var generic, more int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements
WHERE statement LIKE '%.events %' AND statement NOT LIKE 'WITH locked%' AND statement NOT LIKE '%pg_prepared%'`).Scan(&generic, &more))
		require.Zero(t, generic)
		custom += more
	}
	count(pool)
	count(s.writer.session.conn)
	require.GreaterOrEqual(t, custom, 40)
}
