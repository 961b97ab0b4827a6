package sqlitestore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func timedEvent(t *testing.T, reference, timestamp, amount string) chargeingest.NewEvent {
	t.Helper()
	e := charge(reference)
	var err error
	e.Timestamp, err = time.Parse(time.RFC3339Nano, timestamp)
	require.NoError(t, err)
	e.Content = fmt.Sprintf(`{"reference":%q,"timestamp":%q,"value":{"amount":{"quantity":%q,"currency":"EUR"}}}`, reference, timestamp, amount)
	setCustomer(&e, "", "customer")
	return e
}

func TestTimestampUTCComparesByInstant(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	timestamps := []string{
		"0001-01-01T00:00:00+14:00",
		"0001-01-01T00:00:00Z",
		"0001-01-01T00:00:00.000000001Z",
		"1969-12-31T23:59:59.999999999Z",
		"1970-01-01T02:00:00+02:00",
		"2026-02-28T23:59:59.999999999Z",
		"2026-02-28T19:00:00-05:00",
		"2026-03-01T00:00:00.1Z",
		"2026-03-01T00:00:00.25Z",
		"9999-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:59-00:01",
		"9999-12-31T23:59:59-14:00",
	}
	random := rand.New(rand.NewPCG(1, 1))
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
	for range 200 {
		instant := time.Unix(first+random.Int64N(last-first), random.Int64N(1e9)).UTC()
		timestamps = append(timestamps, instant.Format(time.RFC3339Nano))
	}
	b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
	for _, ts := range timestamps {
		b.Events = append(b.Events, timedEvent(t, "", ts, "1"))
	}
	fresh(t, s, b)
	slices.SortFunc(b.Events, func(a, b chargeingest.NewEvent) int { return a.Timestamp.Compare(b.Timestamp) })

	db, err := s.file.open(nil)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.Query("SELECT timestamp_utc FROM charge_events_view ORDER BY timestamp_utc")
	require.NoError(t, err)
	defer rows.Close()
	for _, e := range b.Events {
		require.True(t, rows.Next())
		var found string
		require.NoError(t, rows.Scan(&found))
		want := e.Timestamp.UTC().Format("2006-01-02T15:04:05.000000000Z")
		switch e.Timestamp.UTC().Format(time.RFC3339) {
		case "10000-01-01T00:00:59Z":
			want = "9999-12-31T24:00:59.000000000Z"
		case "10000-01-01T13:59:59Z":
			want = "9999-12-31T37:59:59.000000000Z"
		}
		require.Equal(t, want, found)
	}
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
}

func TestDocumentedQueries(t *testing.T) {
	text, err := os.ReadFile("../docs/data.md")
	require.NoError(t, err)
	const heading = "Queries"
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	_, query, _ := strings.Cut(section, "```sql\n")
	query, _, found := strings.Cut(query, "```")
	require.True(t, found)

	setup := newSetup(t)
	s := setup.open(t)
	other := timedEvent(t, "other", "2026-02-10T00:00:00Z", "7.00")
	other.Content = strings.Replace(other.Content, `"customer"`, `"another"`, 1)
	fresh(t, s, chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Route: chargeingest.RouteBatch, Events: []chargeingest.NewEvent{
		timedEvent(t, "begins in January", "2026-01-31T23:30:00-01:00", "0.1"),
		timedEvent(t, "ends in March", "2026-03-01T00:30:00+02:00", "0.2"),
		timedEvent(t, "large", "2026-02-10T00:00:00.5Z", "123456789012345678901234567.01"),
		timedEvent(t, "January", "2026-02-01T00:30:00+01:00", "1000"),
		timedEvent(t, "March", "2026-02-28T23:30:00-05:00", "1000"),
		other,
	}})
	fresh(t, s, chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{
		timedEvent(t, "of another platform", "2026-02-10T00:00:00Z", "1000"),
	}})
	require.Equal(t, "another\x1fEUR\x1f7.00\x1f1\ncustomer\x1fEUR\x1f123456789012345678901234567.31\x1f3",
		sqlite3Shell(t, setup.path, query))
}

func TestMigrateView(t *testing.T) {
	setup := newSetup(t)
	execSQL(t, setup.path, append(append([]string{fmt.Sprintf("PRAGMA application_id = %d", applicationID)}, scripts[:4]...),
		"PRAGMA user_version = 4",
		"INSERT INTO platforms VALUES (1, 'acme')",
		`INSERT INTO events VALUES (1, 'chda_00000000000000000000000000', 1, NULL, NULL, NULL, NULL, NULL, 'proi', 1767225600, 5, 0, 1767225600, 0, x'', '{"timestamp":"2026-01-01T01:00:00.000000005+01:00"}')`,
	)...)
	setup.open(t)
	db, err := (&file{path: setup.path, tuning: setup.tuning}).open(nil)
	require.NoError(t, err)
	defer db.Close()
	var found string
	require.NoError(t, db.QueryRow("SELECT timestamp || ' ' || timestamp_utc FROM charge_events_view").Scan(&found))
	require.Equal(t, "2026-01-01T01:00:00.000000005+01:00 2026-01-01T00:00:00.000000005Z", found)
}
