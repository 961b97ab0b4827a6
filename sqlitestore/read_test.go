package sqlitestore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

func queries() (all []chargeingest.Query) {
	from := received()
	for _, order := range []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending} {
		for _, after := range []string{"", cursor.Encode(1)} {
			for _, q := range []chargeingest.Query{
				{},
				{ProductItemID: "item"},
				{PricingPlanSubscriptionID: "s", PricingPlanSubscriptionReference: "r"},
				{From: &from, To: &from},
				{CustomerID: "c", ProductItemID: "item"},
				{CustomerReference: "c", From: &from},
				{CustomerReference: "c", CustomerID: "c"},
				{Reference: "r", CustomerID: "c"},
			} {
				q.Platform, q.Order, q.After, q.Limit = "acme", order, after, 10
				all = append(all, q)
			}
		}
	}
	return all
}

func TestContentIsKeptByteForByte(t *testing.T) {
	s := newSetup(t).open(t)
	b := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
	for _, content := range []string{
		`{}`,
		"{ \"b\" :\t1.50,\r\n\"a\":[ ] }\n",
		`{"n":0.1000000000000000055511151231257827,"m":1e400,"i":123456789012345678901234567890}`,
		`{"s":"\u0041\/é\u2028\ud83d\ude00 ` + "\u2028\U0001F600" + `"}`,
		`{"s":"` + strings.Repeat("x", 1<<20) + `"}`,
		`{"quote":"'; DROP TABLE events; --"}`,
	} {
		e := charge("")
		e.Content = content
		e.Digest = sha256.Sum256([]byte(e.Content))
		e.TimestampAssigned = len(b.Events)%2 == 0
		b.Events = append(b.Events, e)
	}
	outcomes := appended(t, s, b)
	page, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 100})
	require.NoError(t, err)
	require.Len(t, page.Events, len(b.Events))
	for i, sent := range b.Events {
		one, err := s.Get(t.Context(), "acme", outcomes[i].ID)
		require.NoError(t, err)
		for _, e := range []chargeingest.StoredEvent{outcomes[i].StoredEvent, page.Events[i], one} {
			require.Equal(t, sent.Content, e.Content, "event %d", i)
			require.Equal(t, sent.Digest, e.Digest)
			require.Equal(t, sent.TimestampAssigned, e.TimestampAssigned)
		}
	}
}

func TestPagesAreBoundedInBytes(t *testing.T) {
	s := newSetup(t).open(t)
	all := fresh(t, s, charges("acme", "a", "b", "c"))
	size := len(charge("a").Content)
	for bytes, events := range map[int]int{1: 1, size: 1, 2*size - 1: 1, 2 * size: 2, 3*size - 1: 2, 3 * size: 3, 0: 3} {
		q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10, MaxBytes: bytes}
		page, err := s.List(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, page.Events, events, "%d bytes", bytes)
		require.Equal(t, events < 3, page.Next != "")
		q.After, q.MaxBytes = page.Position, 0
		rest, err := s.List(t.Context(), q)
		require.NoError(t, err)
		require.Len(t, rest.Events, 3-events)
		if events < 3 {
			require.Equal(t, all[events], rest.Events[0].ID)
		}
	}
}

func TestCursorAheadOfDatabase(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
	fresh(t, s, charges("acme", "b"))
	q := chargeingest.Query{Platform: "acme", Order: chargeingest.Ascending, Limit: 10}
	page, err := s.List(t.Context(), q)
	require.NoError(t, err)
	q.After = page.Position
	_, err = s.List(t.Context(), q)
	require.NoError(t, err)

	setup.path += ".copy"
	restored := setup.open(t)
	_, err = restored.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrInvalidCursor)
	fresh(t, restored, charges("acme", "c"))
	page, err = restored.List(t.Context(), q)
	require.NoError(t, err)
	require.Empty(t, page.Events)
}

func TestPositionPassesWhatDoesNotMatch(t *testing.T) {
	s := newSetup(t).open(t)
	fresh(t, s, charges("acme", numbered(5)...))
	fresh(t, s, charges("globex", numbered(5)...))
	for _, q := range []chargeingest.Query{
		{Platform: "acme", ProductItemID: "other"},
		{Platform: "nobody"},
		{Platform: "globex"},
	} {
		q.Order, q.Limit = chargeingest.Ascending, 5
		page, err := s.List(t.Context(), q)
		require.NoError(t, err)
		require.Equal(t, cursor.Encode(10), page.Position)
		require.Empty(t, page.Next)
	}
}

func TestListTimeout(t *testing.T) {
	setup := newSetup(t)
	setup.options.ScanTimeout = 1
	s := setup.open(t)
	q := chargeingest.Query{Platform: "acme", Limit: 1}
	_, err := s.List(t.Context(), q)
	require.ErrorIs(t, err, chargeingest.ErrScanLimit)
	_, err = s.Get(t.Context(), "acme", "id")
	require.ErrorIs(t, err, chargeingest.ErrScanLimit)

	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	_, err = s.List(ctx, q)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, chargeingest.ErrScanLimit)
}

func TestCanceledListReturnsContextError(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	setup.faults.once("SELECT seq", func() error {
		cancel()
		return nil
	})
	_, err := s.List(ctx, chargeingest.Query{Platform: "acme", Limit: 1})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, chargeingest.ErrScanLimit)
	fresh(t, s, charges("acme", "a"))
	require.Len(t, listed(t, s, "acme"), 1)
}

func TestFailedRead(t *testing.T) {
	for _, statement := range []string{"SELECT seq", "SELECT id"} {
		setup := newSetup(t)
		s := setup.open(t)
		fresh(t, s, charges("acme", "a"))
		setup.faults.on(statement, resultError(sqlite3.SQLITE_IOERR_READ))
		_, err := s.List(t.Context(), chargeingest.Query{Platform: "acme", Limit: 1})
		if statement == "SELECT id" {
			_, err = s.Get(t.Context(), "acme", "id")
		}
		require.ErrorIs(t, err, resultError(sqlite3.SQLITE_IOERR_READ))
	}
}

func TestViewHasColumnPerField(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	e := charge("order-42")
	e.CustomerID, e.PricingPlanSubscriptionReference, e.ProductItemID = "cust", "sub", "proi"
	e.Timestamp = time.Date(1, 1, 1, 12, 0, 0, 0, time.UTC)
	e.Content = `{"product_item_id":"proi","pricing_id":"pric","pricing_item_id":"prii","pricing_item_config_id":"pico",
		"customer_id":"cust","customer_reference":null,"pricing_plan_subscription_id":null,"pricing_plan_subscription_reference":"sub",
		"pricing_plan_subscription_selector":{"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"LATEST"},
		"reference":"order-42","description":"some thing","value":{"id":"v","reference":"w","number":"-0.10",
		"amount":{"quantity":"12345678901234567890.1234567890","currency":"EUR"},"count":"007"},
		"period":{"start_at":"2026-01-01t00:00:00z","end_at":"2026-02-01T00:00:00.000+01:00","ratio":"1.0"},
		"timestamp":"0001-01-01T00:00:00-12:00"}`
	id := fresh(t, s, chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteSingle, Events: []chargeingest.NewEvent{e}})[0]
	want := []struct{ column, value string }{
		{"seq", "1"},
		{"id", id},
		{"object_type", "CHARGE_DATA"},
		{"platform", "acme"},
		{"product_item_id", "proi"},
		{"pricing_id", "pric"},
		{"pricing_item_id", "prii"},
		{"pricing_item_config_id", "pico"},
		{"customer_id", "cust"},
		{"customer_reference", "<nil>"},
		{"pricing_plan_subscription_id", "<nil>"},
		{"pricing_plan_subscription_reference", "sub"},
		{"pricing_plan_subscription_selector", `{"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"LATEST"}`},
		{"reference", "order-42"},
		{"description", "some thing"},
		{"value_id", "v"},
		{"value_reference", "w"},
		{"value_number", "-0.10"},
		{"value_amount_quantity", "12345678901234567890.1234567890"},
		{"value_amount_currency", "EUR"},
		{"value_count", "007"},
		{"period_start_at", "2026-01-01t00:00:00z"},
		{"period_end_at", "2026-02-01T00:00:00.000+01:00"},
		{"period_ratio", "1.0"},
		{"timestamp", "0001-01-01T00:00:00-12:00"},
		{"timestamp_utc", "0001-01-01T12:00:00.000000000Z"},
		{"received_at", "2026-03-01T12:00:00.987654321Z"},
		{"content", e.Content},
	}
	db, err := s.file.open(nil)
	require.NoError(t, err)
	defer db.Close()
	values, into := make([]any, len(want)), make([]any, len(want))
	columns := make([]string, len(want))
	for i, w := range want {
		into[i], columns[i] = &values[i], w.column
	}
	require.NoError(t, db.QueryRow("SELECT * FROM charge_events_view").Scan(into...))
	var header string
	require.NoError(t, db.QueryRow("SELECT group_concat(name) FROM pragma_table_info('charge_events_view')").Scan(&header))
	require.Equal(t, strings.Join(columns, ","), header)
	var line []string
	for i, w := range want {
		require.Equal(t, w.value, fmt.Sprint(values[i]), w.column)
		line = append(line, strings.ReplaceAll(w.value, "<nil>", ""))
	}
	require.Equal(t, strings.Join(line, "\x1f"), sqlite3Shell(t, setup.path, "SELECT * FROM charge_events_view"))
}
