package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

// read runs f in a transaction that sees one state of the database.
func (s *Store) read(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	if s.running.Err() != nil {
		return chargeingest.ErrClosed
	}
	limited, cancel := context.WithTimeout(ctx, s.options.ScanTimeout)
	defer cancel()
	tx, err := s.readers.BeginTx(limited, &sql.TxOptions{ReadOnly: true})
	if err == nil {
		err = f(limited, tx)
		// There is nothing to undo.
		_ = tx.Rollback()
	}
	switch {
	case err == nil, errors.Is(err, chargeingest.ErrNotFound), errors.Is(err, chargeingest.ErrBadCursor):
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
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		row := tx.QueryRowContext(ctx, "SELECT "+eventColumns+" FROM events WHERE id = ? AND platform = "+platformOf, id, platform)
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
	err = s.read(ctx, func(ctx context.Context, tx *sql.Tx) error {
		page, err = list(ctx, tx, q)
		return err
	})
	return page, err
}

func list(ctx context.Context, tx *sql.Tx, q chargeingest.Query) (chargeingest.Page, error) {
	var page chargeingest.Page
	// Whatever is stored later comes behind the newest that ever was.
	var newest int64
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'").Scan(&newest)
	if err != nil {
		return page, err
	}
	var after int64
	if q.After != "" {
		if after, err = cursor.Decode(q.After); err != nil {
			return page, err
		}
		// It was given by another database, or by this one before an older
		// copy took its place. To accept it would be to pass over events.
		if after > newest {
			return page, fmt.Errorf("%w: %q is ahead of the database", chargeingest.ErrBadCursor, q.After)
		}
	}
	statement, arguments := listStatement(q, after)
	rows, err := tx.QueryContext(ctx, statement, arguments...)
	if err != nil {
		return page, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	last, size := after, 0
	for rows.Next() {
		var seq int64
		e, err := scanEvent(rows.Scan, &seq)
		if err != nil {
			return page, err
		}
		size += len(e.Content)
		tooLarge := q.MaxBytes > 0 && size > q.MaxBytes && len(page.Events) > 0
		if tooLarge || len(page.Events) == q.Limit {
			page.Next = cursor.Encode(last)
			break
		}
		page.Events = append(page.Events, e)
		last = seq
	}
	if q.Order == chargeingest.Ascending {
		if page.Next == "" {
			// All up to the newest was looked at: no need to do it again.
			last = newest
		}
		page.Position = cursor.Encode(last)
	}
	return page, rows.Err()
}

// platformOf selects the number of a platform.
const platformOf = "(SELECT platforms.id FROM platforms WHERE name = ?)"

// listStatement returns the query for a page and one event more. The index is
// named, so that neither a person's ANALYZE nor another version of SQLite
// makes another choice. Each index is in the order of seq within its values.
func listStatement(q chargeingest.Query, after int64) (string, []any) {
	index := "events_platform"
	where := []string{"platform = " + platformOf}
	arguments := []any{q.Platform}
	and := func(condition string, values ...any) {
		where = append(where, condition)
		arguments = append(arguments, values...)
	}
	for _, filter := range []struct{ column, value, index string }{
		{"product_item_id", q.ProductItemID, ""},
		{"pricing_plan_subscription_id", q.PricingPlanSubscriptionID, ""},
		{"pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference, ""},
		{"customer_reference", q.CustomerReference, "events_customer_reference"},
		{"customer_id", q.CustomerID, "events_customer_id"},
		{"reference", q.Reference, "events_reference"},
	} {
		if filter.value == "" {
			continue
		}
		and(filter.column+" = ?", filter.value)
		if filter.index != "" {
			index = filter.index
		}
	}
	instant := func(t *time.Time, comparison string) {
		if t != nil {
			and("(timestamp_s, timestamp_ns) "+comparison+" (?, ?)", t.Unix(), t.Nanosecond())
		}
	}
	instant(q.From, ">=")
	instant(q.To, "<")
	direction := "DESC"
	if q.Order == chargeingest.Ascending {
		direction = "ASC"
		and("seq > ?", after)
	} else if q.After != "" {
		and("seq < ?", after)
	}
	arguments = append(arguments, int64(q.Limit)+1)
	return "SELECT seq, " + eventColumns + " FROM events INDEXED BY " + index +
		" WHERE " + strings.Join(where, " AND ") + " ORDER BY seq " + direction + " LIMIT ?", arguments
}
