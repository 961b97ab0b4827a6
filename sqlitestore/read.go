package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
	var e chargeingest.StoredEvent
	err := scanEvent(s.readers.QueryRowContext(ctx, `SELECT e.id, e.content, e.timestamp_assigned, e.digest
		FROM events AS e JOIN platforms AS p ON p.id = e.platform WHERE e.id = ? AND p.name = ?`, id, platform), &e)
	if errors.Is(err, sql.ErrNoRows) {
		err = chargeingest.ErrNotFound
	}
	return e, s.readFailure(err)
}

// readFailure tells a store that is closed from one that fails.
func (s *Store) readFailure(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.stopped:
		return errors.Join(chargeingest.ErrClosed, err)
	default:
		return err
	}
}

// List implements [chargeingest.EventReader].
func (s *Store) List(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) {
	after := int64(-1)
	if q.After != "" {
		var err error
		if after, err = cursor.Decode(q.After); err != nil {
			return chargeingest.Page{}, err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, s.options.ScanTimeout)
	defer cancel()
	page, err := s.list(bounded, q, after)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return chargeingest.Page{}, chargeingest.ErrScanLimit
	}
	return page, s.readFailure(err)
}

func (s *Store) list(ctx context.Context, q chargeingest.Query, after int64) (page chargeingest.Page, err error) {
	// One snapshot for the page and for what is newest.
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()

	var platform, newest int64
	err = tx.QueryRowContext(ctx, `SELECT ifnull((SELECT id FROM platforms WHERE name = ?), 0),
		ifnull((SELECT max(seq) FROM events), 0)`, q.Platform).Scan(&platform, &newest)
	if err != nil {
		return page, err
	}
	statement, args := listStatement(q, platform, after)
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var seq int64
	for rows.Next() {
		if len(page.Events) == q.Limit { // one more is there
			page.Next = cursor.Encode(seq)
			break
		}
		var e chargeingest.StoredEvent
		if err := scanEvent(rows, &e, &seq); err != nil {
			return page, err
		}
		page.Events = append(page.Events, e)
	}
	if q.Order == chargeingest.Ascending {
		page.Position = page.Next
		if page.Position == "" {
			// The scan saw everything up to the newest event, and what is
			// committed later comes behind it: one writer gives the numbers.
			page.Position = cursor.Encode(max(newest, after))
		}
	}
	return page, rows.Err()
}

// ignoreDone passes over a transaction that ended with its context.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// listStatement is the query of a page and one event more.
func listStatement(q chargeingest.Query, platform, after int64) (string, []any) {
	var where strings.Builder
	where.WriteString(`platform = ?`)
	args := []any{platform}
	add := func(condition string, values ...any) {
		where.WriteString(` AND ` + condition)
		args = append(args, values...)
	}
	for _, f := range []struct{ column, value string }{
		{"reference", q.Reference},
		{"customer_id", q.CustomerID},
		{"customer_reference", q.CustomerReference},
		{"pricing_plan_subscription_id", q.PricingPlanSubscriptionID},
		{"pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference},
		{"product_item_id", q.ProductItemID},
	} {
		if f.value != "" {
			add(f.column+` = ?`, f.value)
		}
	}
	if q.From != nil {
		add(`(timestamp_s, timestamp_ns) >= (?, ?)`, q.From.Unix(), q.From.Nanosecond())
	}
	if q.To != nil {
		add(`(timestamp_s, timestamp_ns) < (?, ?)`, q.To.Unix(), q.To.Nanosecond())
	}
	order := ` DESC`
	if q.Order == chargeingest.Ascending {
		order = ` ASC`
		if after >= 0 {
			add(`seq > ?`, after)
		}
	} else if after >= 0 {
		add(`seq < ?`, after)
	}
	args = append(args, q.Limit+1)
	return `SELECT id, content, timestamp_assigned, digest, seq FROM events WHERE ` + where.String() +
		` ORDER BY seq` + order + ` LIMIT ?`, args
}
