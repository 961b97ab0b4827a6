package pgstore

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func page(t *testing.T, section, schema string) string {
	t.Helper()
	return documented(t, "../docs/postgres.md", section, schema)
}

func documented(t *testing.T, path, section, schema string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "# "+section+"\n")
	require.True(t, found, section)
	block := regexp.MustCompile("(?s)```sql\n(.*?)```").FindStringSubmatch(rest)
	require.NotNil(t, block)
	return strings.ReplaceAll(block[1], "chargeingest.", schema+".")
}

func at(b chargeingest.Batch, received time.Time) chargeingest.Batch {
	for i := range b.Events {
		b.Events[i].ReceivedAt = received
	}
	return b
}

func TestPartitionsByTime(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), page(t, "Partitions", schema))
	require.NoError(t, err)

	january, february := time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC), time.Date(2027, 2, 15, 0, 0, 0, 0, time.UTC)
	keyed := func(b chargeingest.Batch, key string) chargeingest.Batch {
		b.IdempotencyKey = key
		return b
	}
	old, _ := appended(t, s, keyed(at(charges("acme", "a", "b"), january), "old"))
	recent, _ := appended(t, s, keyed(at(charges("acme", "b", "c"), february), "mixed"))
	_, replayed := appended(t, s, keyed(at(charges("acme", "b", "c"), february), "mixed"))
	require.Equal(t, []bool{true, true}, replayed)
	_, replayed = appended(t, s, at(charges("acme", "a", "c"), february))
	require.Equal(t, []bool{true, true}, replayed)
	_, err = s.Append(t.Context(), at(changed("acme", "a"), february))
	var conflict *chargeingest.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, []string{old[0], old[1], recent[1]}, listed(t, s, "acme"))
	e, err := s.Get(t.Context(), "acme", old[0])
	require.NoError(t, err)
	require.Equal(t, old[0], e.ID)
	before, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 1})
	require.NoError(t, err)

	_, err = pool.Exec(t.Context(), page(t, "Drop a partition", schema))
	require.NoError(t, err)
	require.Equal(t, []string{recent[1]}, listed(t, s, "acme"))
	next, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10, After: before.Position})
	require.NoError(t, err)
	require.Len(t, next.Events, 1)
	_, replayed = appended(t, s, keyed(at(charges("acme", "b", "c"), february), "mixed"))
	require.Equal(t, []bool{false, true}, replayed)
	_, replayed = appended(t, s, keyed(at(charges("acme", "a", "b"), february), "old"))
	require.Equal(t, []bool{false, true}, replayed)
}

func TestMoveDefaultPartition(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	_, err := pool.Exec(t.Context(), page(t, "Partitions", schema))
	require.NoError(t, err)
	march := at(charges("acme", "a", "b"), time.Date(2027, 3, 15, 0, 0, 0, 0, time.UTC))
	april := at(charges("acme", "c"), time.Date(2027, 4, 15, 0, 0, 0, 0, time.UTC))
	ids, _ := appended(t, s, march)
	last, _ := appended(t, s, april)
	_, err = pool.Exec(t.Context(), page(t, "A month that already has events in the default partition", schema))
	require.NoError(t, err)
	require.Equal(t, append(ids, last...), listed(t, s, "acme"))
	_, replayed := appended(t, s, march)
	require.Equal(t, []bool{true, true}, replayed)
	var rest, own int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM "+schema+".events_rest), (SELECT count(*) FROM "+schema+".events_2027_03)").Scan(&rest, &own))
	require.Equal(t, []int{1, 2}, []int{rest, own})
}

func TestTableBecomesAPartition(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	before := at(charges("acme", "a", "b"), time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC))
	before.Events[0].CustomerID = "c"
	ids, _ := appended(t, s, before)
	_, err := pool.Exec(t.Context(), page(t, "Partitions", schema))
	require.ErrorContains(t, err, "there are events already")
	_, err = pool.Exec(t.Context(), page(t, "A table that already has events", schema))
	require.NoError(t, err)
	after := at(charges("acme", "c"), time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC))
	last, _ := appended(t, s, after)
	require.Equal(t, append(ids, last...), listed(t, s, "acme"))
	_, replayed := appended(t, s, before)
	require.Equal(t, []bool{true, true}, replayed)
	var indexes string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT string_agg(indexdef, ';' ORDER BY indexname) FROM pg_indexes
WHERE schemaname = $1 AND tablename = 'events_before'`, schema).Scan(&indexes))
	require.Equal(t, 5, strings.Count(indexes, "CREATE "), indexes)
}

func TestDocumentedQueries(t *testing.T) {
	pool := newPool(t)
	schema := newSchema(t, pool)
	s := newStore(t, pool, Options{Schema: schema})
	b := charges(chargeingest.DefaultPlatform, "begins in January", "ends in March", "large", "January", "March")
	for i, e := range []struct{ timestamp, quantity string }{
		{"2026-01-31T23:30:00-01:00", "0.1"},
		{"2026-03-01T00:30:00+02:00", "0.2"},
		{"2026-02-28T23:59:59.999999999Z", "123456789012345678901234567.01"},
		{"2026-02-01T00:30:00+01:00", "1000"},
		{"2026-02-28T23:30:00-05:00", "1000"},
	} {
		var err error
		b.Events[i].Timestamp, err = time.Parse(time.RFC3339Nano, e.timestamp)
		require.NoError(t, err)
		b.Events[i].CustomerReference = "customer"
		b.Events[i].Content = `{"value":{"amount":{"quantity":"` + e.quantity + `","currency":"EUR"}}}`
	}
	appended(t, s, b)
	var row string
	query := strings.TrimRight(documented(t, "../docs/postgres.md", "Queries", schema), "; \n")
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT string_agg(q::text, ' ') FROM ("+query+") AS q").Scan(&row))
	require.Equal(t, "(customer,EUR,123456789012345678901234567.31,3)", row)
}
