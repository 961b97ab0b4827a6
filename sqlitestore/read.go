package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/internal/sortedrun"
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
	pager := pager{page: &page, query: q, newest: view.newest, lastSeq: after}
	if q.Order != chargeingest.Ascending && q.After == "" {
		pager.lastSeq = view.newest + 1
	}
	var err error
	if value == "" {
		err = pager.read(ctx, tx, wholePlatform, nil)
	} else {
		err = pager.readIndexed(ctx, tx, view)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return page, err
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
	newest  int64
	lastSeq int64
	bytes   int
}

// readIndexed reads the events in runs and in the view.
func (p *pager) readIndexed(ctx context.Context, tx *sql.Tx, v view) error {
	recent := func() error { return p.readSeqs(ctx, tx, v.found, "seq > (SELECT merged.seq FROM merged)") }
	low, high, direction := p.lastSeq+1, v.newest, "ASC"
	if p.query.Order != chargeingest.Ascending {
		low, high, direction = 0, p.lastSeq-1, "DESC"
		if err := recent(); err != nil {
			return err
		}
	}
	var seqs []int64
	from, to := v.key.entry(low), v.key.entry(high)
	err := eachRow(ctx, tx, func(rows *sql.Rows) error {
		var entries []byte
		if err := rows.Scan(&entries); err != nil {
			return err
		}
		seqs = append(seqs, sortedrun.Between(entries, from, to)...)
		if len(seqs) < p.query.Limit {
			return nil
		}
		some := seqs
		seqs = nil
		return p.readSeqs(ctx, tx, some)
	}, fmt.Sprintf(chunksBetweenSQL, direction), from, to)
	if err == nil {
		err = p.readSeqs(ctx, tx, seqs)
	}
	if err == nil && direction == "ASC" {
		err = recent()
	}
	return err
}

const (
	wholePlatform = "events INDEXED BY events_platform"
	bySeq         = "events NOT INDEXED"
	inSeqs        = "seq IN (SELECT value FROM json_each(?))"
)

// readSeqs returns io.EOF when the page is full.
func (p *pager) readSeqs(ctx context.Context, tx *sql.Tx, seqs []int64, condition ...string) error {
	if len(seqs) == 0 {
		return nil
	}
	return p.read(ctx, tx, bySeq, append(condition, inSeqs), jsonList(seqs))
}

// read returns io.EOF when the page is full.
func (p *pager) read(ctx context.Context, tx *sql.Tx, from string, where []string, arguments ...any) error {
	query, arguments := p.statement(from, where, arguments)
	return eachRow(ctx, tx, func(rows *sql.Rows) error {
		var seq int64
		e, err := scanEvent(rows.Scan, &seq)
		if err != nil {
			return err
		}
		p.bytes += len(e.Content)
		tooLarge := p.query.MaxBytes > 0 && p.bytes > p.query.MaxBytes && len(p.page.Events) > 0
		if tooLarge || len(p.page.Events) == p.query.Limit {
			p.page.Next = cursor.Encode(p.lastSeq)
			return io.EOF
		}
		p.page.Events = append(p.page.Events, e)
		p.lastSeq = seq
		return nil
	}, query, arguments...)
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

func bestFilter(q chargeingest.Query) (kind, string) {
	switch {
	case q.Reference != "":
		return byReference, q.Reference
	case q.CustomerID != "":
		return byCustomerID, q.CustomerID
	}
	return byCustomerReference, q.CustomerReference
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

func fieldSQL(name string) string { return "content ->> '$." + name + "'" }

// statement reads one event more than the page.
func (p *pager) statement(from string, where []string, arguments []any) (string, []any) {
	q := &p.query
	and := func(condition string, values ...any) {
		where = append(where, condition)
		arguments = append(arguments, values...)
	}
	and("events.platform = "+platformByName, q.Platform)
	for _, filter := range []struct{ field, value string }{
		{"product_item_id", q.ProductItemID},
		{"pricing_plan_subscription_id", q.PricingPlanSubscriptionID},
		{"pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference},
		{byReference.field(), q.Reference},
		{byCustomerReference.field(), q.CustomerReference},
		{byCustomerID.field(), q.CustomerID},
	} {
		if filter.value != "" {
			and(fieldSQL(filter.field)+" = ?", filter.value)
		}
	}
	instant := func(t *time.Time, comparison string) {
		if t != nil {
			and("(timestamp_s, timestamp_ns) "+comparison+" (?, ?)", t.Unix(), t.Nanosecond())
		}
	}
	instant(q.From, ">=")
	instant(q.To, "<")
	and("seq <= ?", p.newest)
	direction, beyond := "ASC", "seq > ?"
	if q.Order != chargeingest.Ascending {
		direction, beyond = "DESC", "seq < ?"
	}
	and(beyond, p.lastSeq)
	return "SELECT seq, " + eventColumns + " FROM " + from + " WHERE " + strings.Join(where, " AND ") +
		" ORDER BY seq " + direction + " LIMIT ?", append(arguments, min(int64(q.Limit), math.MaxInt64-1)+1)
}
