package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

func (s *Store) read(ctx context.Context, platform string, scan bool, f func(context.Context, *sql.Tx) error) error {
	turn, cancel := context.WithTimeout(ctx, s.file.turnTimeout)
	defer cancel()
	leave, err := s.gates.enter(turn, platform, scan)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
		if leave != nil {
			leave()
		}
		return err
	case err != nil:
		return fmt.Errorf("sqlitestore: %w: no turn to read within %v", chargeingest.ErrOverloaded, s.file.turnTimeout)
	}
	defer leave()
	s.reading.RLock()
	defer s.reading.RUnlock()
	if s.running.Err() != nil {
		return chargeingest.ErrClosed
	}
	if err := s.file.checkForRead(ctx); err != nil {
		return fmt.Errorf("sqlitestore: read: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, s.options.ScanTimeout)
	defer cancel()
	// database/sql reacts to the end of its context in another goroutine. A closed store has no
	// open files, so roll back and close before read returns.
	tx, err := s.readers.BeginTx(context.WithoutCancel(limited), &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = f(limited, tx)
		_ = tx.Rollback()
	}
	switch {
	case err == nil, errors.Is(err, chargeingest.ErrNotFound), errors.Is(err, chargeingest.ErrInvalidCursor):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return fmt.Errorf("sqlitestore: %w: more than %v", chargeingest.ErrScanLimit, s.options.ScanTimeout)
	}
	return fmt.Errorf("sqlitestore: read: %w", err)
}

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (e chargeingest.StoredEvent, err error) {
	err = s.read(ctx, platform, false, func(ctx context.Context, tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, "SELECT "+eventColumns+" FROM events WHERE seq = "+seqByID+" AND id = ?1 AND platform = "+platformByName, id, platform)
		e, err = scanEvent(row.Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return chargeingest.ErrNotFound
		}
		return err
	})
	return e, err
}

// List implements [chargeingest.EventReader].
func (s *Store) List(ctx context.Context, q chargeingest.Query) (page chargeingest.Page, err error) {
	err = s.read(ctx, q.Platform, isScan(q), func(ctx context.Context, tx *sql.Tx) error {
		page, err = list(ctx, tx, s.writer.recent, q)
		return err
	})
	return page, err
}

func list(ctx context.Context, tx *sql.Tx, recent *recentIndex, q chargeingest.Query) (chargeingest.Page, error) {
	var page chargeingest.Page
	// viewOf comes before the first statement, which begins the transaction.
	kind, value := bestFilter(q)
	view := recent.viewOf(q.Platform, kind, value)
	var after int64
	if q.After != "" {
		var err error
		if after, err = cursor.Decode(q.After); err != nil {
			return page, err
		}
		// The cursor is from another database or a newer copy: it would skip events.
		if after > view.newest {
			return page, fmt.Errorf("%w: %q is after the newest event of the database", chargeingest.ErrInvalidCursor, q.After)
		}
	}
	pager := pager{page: &page, query: q, lastSeq: after}
	for _, statement := range listQueries(q, after, view) {
		if err := pager.read(ctx, tx, statement); err != nil {
			return page, err
		}
	}
	if q.Order == chargeingest.Ascending {
		if page.Next == "" {
			pager.lastSeq = view.newest
		}
		page.Position = cursor.Encode(pager.lastSeq)
	}
	return page, nil
}

type pager struct {
	page    *chargeingest.Page
	query   chargeingest.Query
	lastSeq int64
	bytes   int
}

func (p *pager) read(ctx context.Context, tx *sql.Tx, s listQuery) error {
	if p.page.Next != "" {
		return nil
	}
	rows, err := tx.QueryContext(ctx, s.query, s.arguments...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var seq int64
		e, err := scanEvent(rows.Scan, &seq)
		if err != nil {
			return err
		}
		p.bytes += len(e.Content)
		tooLarge := p.query.MaxBytes > 0 && p.bytes > p.query.MaxBytes && len(p.page.Events) > 0
		if tooLarge || len(p.page.Events) == p.query.Limit {
			p.page.Next = cursor.Encode(p.lastSeq)
			break
		}
		p.page.Events = append(p.page.Events, e)
		p.lastSeq = seq
	}
	return rows.Err()
}

const platformByName = "(SELECT platforms.id FROM platforms WHERE name = ?)"

// seqByID is the seq of the last event whose id is not after ?1: ids increase with seq.
const seqByID = `(WITH RECURSIVE search (low, high) AS (
		SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)
		UNION ALL
		SELECT iif(middle.id <= ?1, middle.seq, low), iif(middle.id <= ?1, high, (low + high - 1) / 2)
		FROM search CROSS JOIN events AS middle ON middle.seq = (SELECT min(seq) FROM events WHERE seq >= (low + high + 1) / 2)
		WHERE low < high)
	SELECT low FROM search WHERE low = high)`

type listQuery struct {
	query     string
	arguments []any
}

func bestFilter(q chargeingest.Query) (kind, string) {
	switch {
	case q.Reference != "":
		return byReference, q.Reference
	case q.CustomerID != "":
		return byCustomerID, q.CustomerID
	}
	return byCustomerReference, q.CustomerReference
}

// listQueries returns queries of merged and recent events, in the page's order, for one event
// more than the page. CROSS JOIN and INDEXED BY fix the plan.
func listQueries(q chargeingest.Query, after int64, v view) []listQuery {
	kind, value := bestFilter(q)
	if value == "" {
		s := newListQuery(q, after, v.newest, "events INDEXED BY events_platform", "events.platform = "+platformByName, q.Platform)
		return []listQuery{s}
	}
	statements := []listQuery{newListQuery(q, after, v.newest,
		"lookup CROSS JOIN events USING (seq)",
		"kind = ? AND lookup.platform = "+platformByName+" AND value = ? AND lookup.seq <= (SELECT merged.seq FROM merged)",
		int(kind), q.Platform, value)}
	if len(v.found) > 0 {
		statements = append(statements, newListQuery(q, after, v.newest, "events",
			"events.seq > (SELECT merged.seq FROM merged) AND events.seq IN (SELECT value FROM json_each(?))", jsonList(v.found)))
	}
	if q.Order == chargeingest.Descending {
		slices.Reverse(statements)
	}
	return statements
}

func jsonList(numbers []int64) string {
	text := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, n, 10)
	}
	return string(append(text, ']'))
}

func newListQuery(q chargeingest.Query, after, newest int64, from, condition string, arguments ...any) listQuery {
	seq := "events.seq"
	if strings.HasPrefix(from, "lookup") {
		seq = "lookup.seq"
	}
	where := []string{condition}
	and := func(condition string, values ...any) {
		where = append(where, condition)
		arguments = append(arguments, values...)
	}
	lookedUp, _ := bestFilter(q)
	for _, filter := range []struct{ column, value string }{
		{"product_item_id", q.ProductItemID},
		{"pricing_plan_subscription_id", q.PricingPlanSubscriptionID},
		{"pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference},
		{byCustomerReference.column(), q.CustomerReference},
		{byCustomerID.column(), q.CustomerID},
	} {
		if filter.value != "" && filter.column != lookedUp.column() {
			and(filter.column+" = ?", filter.value)
		}
	}
	instant := func(t *time.Time, comparison string) {
		if t != nil {
			and("(timestamp_s, timestamp_ns) "+comparison+" (?, ?)", t.Unix(), t.Nanosecond())
		}
	}
	instant(q.From, ">=")
	instant(q.To, "<")
	and(seq+" <= ?", newest)
	direction := "DESC"
	if q.Order == chargeingest.Ascending {
		direction = "ASC"
		and(seq+" > ?", after)
	} else if q.After != "" {
		and(seq+" < ?", after)
	}
	return listQuery{
		"SELECT events.seq, " + eventColumns + " FROM " + from + " WHERE " + strings.Join(where, " AND ") +
			" ORDER BY " + seq + " " + direction + " LIMIT ?",
		append(arguments, min(int64(q.Limit), math.MaxInt64-1)+1),
	}
}
