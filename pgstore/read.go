package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

// read runs f in a transaction that only reads, within the time that reading
// may take.
func (s *Store) read(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return chargeingest.ErrClosed
	}
	s.reading.Add(1)
	s.mu.Unlock()
	defer s.reading.Done()

	conn, err := acquire(ctx, s.pool, s.options.AcquireTimeout)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("pgstore: %w", err)
	}
	defer conn.Release()
	// The server ends what takes too long; the client, a second later, a server
	// that is gone.
	limited, cancel := context.WithTimeout(ctx, s.options.ScanTimeout+time.Second)
	defer cancel()
	err = pgx.BeginTxFunc(limited, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		set := new(pgx.Batch)
		set.Queue(s.sql.timeouts, milliseconds(s.options.ScanTimeout), milliseconds(s.options.ScanTimeout))
		set.Queue(s.sql.plans)
		if err := tx.SendBatch(limited, set).Close(); err != nil {
			return err
		}
		return f(limited, tx)
	})
	if errors.Is(err, errReadOnly) {
		s.reset()
	}
	switch {
	case err == nil, errors.Is(err, chargeingest.ErrNotFound), errors.Is(err, chargeingest.ErrBadCursor):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case codeOf(err) == codeQueryCanceled, limited.Err() != nil:
		return fmt.Errorf("pgstore: %w: more than %v", chargeingest.ErrScanLimit, s.options.ScanTimeout)
	}
	return fmt.Errorf("pgstore: read: %w", err)
}

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (e chargeingest.StoredEvent, err error) {
	if !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return e, chargeingest.ErrNotFound // no text that the database can look for
	}
	err = s.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		e, err = scanEvent(tx.QueryRow(ctx, s.sql.get, platformText(platform), id))
		if errors.Is(err, pgx.ErrNoRows) {
			return chargeingest.ErrNotFound
		}
		return err
	})
	return e, err
}

// List implements [chargeingest.EventReader]. A cursor is a place in the
// sequence of its platform.
func (s *Store) List(ctx context.Context, q chargeingest.Query) (page chargeingest.Page, err error) {
	q.Platform = platformText(q.Platform)
	err = s.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		page, err = s.list(ctx, tx, q)
		return err
	})
	return page, err
}

func (s *Store) list(ctx context.Context, tx pgx.Tx, q chargeingest.Query) (page chargeingest.Page, err error) {
	var after int64
	var mark string
	if q.After != "" {
		if after, mark, err = decodeCursor(q.After); err != nil {
			return page, err
		}
	}
	// Before the events are looked at: what comes meanwhile is behind it.
	var newest int64
	var newestID, lastID string
	if err := tx.QueryRow(ctx, s.sql.lastOf, q.Platform, after).Scan(&newest, &newestID, &lastID); err != nil {
		return page, err
	}
	if after > newest || lastID != "" && mark != markOf(lastID) {
		// It was given by a database that had events which this one has not:
		// before a failover without them, or a restored backup. To accept it would
		// be to pass over the ones that have, or will have, their places. An event
		// that was deleted leaves its place empty.
		return page, fmt.Errorf("%w: %q is of events that this database does not have", chargeingest.ErrBadCursor, q.After)
	}
	query, arguments := s.listQuery(q, after, newest)
	rows, err := tx.Query(ctx, query, arguments...)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	last := after
	for rows.Next() {
		var seq int64
		var e chargeingest.StoredEvent
		var content *string
		var digest []byte
		if err := rows.Scan(&seq, &e.ID, &content, &e.TimestampAssigned, &digest); err != nil {
			return page, err
		}
		if content == nil || len(page.Events) == q.Limit {
			page.Next = encodeCursor(last, lastID)
			break
		}
		e.Content = *content
		copy(e.Digest[:], digest)
		page.Events = append(page.Events, e)
		last, lastID = seq, e.ID
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return page, err
	}
	if q.Order == chargeingest.Ascending {
		if page.Next == "" {
			last, lastID = newest, newestID // all up to it was looked at
		}
		page.Position = encodeCursor(last, lastID)
	}
	return page, nil
}

// markLength is how much of an id is in a cursor: of its random part.
const markLength = 10

// markOf is what a cursor has of the event that it is behind.
func markOf(id string) string { return id[max(0, len(id)-markLength):] }

// encodeCursor is the cursor behind an event: its place, and which one it is. A
// place alone can be given a second time, by a standby that has not got it.
func encodeCursor(seq int64, id string) string { return cursor.Encode(seq) + markOf(id) }

func decodeCursor(text string) (seq int64, mark string, err error) {
	place := text[:min(len(text), len(cursor.Encode(0)))]
	seq, err = cursor.Decode(place)
	if mark = text[len(place):]; err == nil && mark != "" && len(mark) != markLength {
		err = fmt.Errorf("%w: %q", chargeingest.ErrBadCursor, text)
	}
	return seq, mark, err
}

// listQuery is the query for a page and one event more.
func (s *Store) listQuery(q chargeingest.Query, after, newest int64) (string, []any) {
	var arguments []any
	var where []string
	and := func(condition string, values ...any) {
		for _, v := range values {
			arguments = append(arguments, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(arguments)), 1)
		}
		where = append(where, condition)
	}
	and("e.platform = ?", q.Platform)
	if q.Reference != "" {
		and("e.seq = "+s.sql.seqOfReference, q.Platform, q.Reference)
	}
	for _, filter := range []struct{ column, value string }{
		{"customer_id", q.CustomerID},
		{"customer_reference", q.CustomerReference},
		{"pricing_plan_subscription_id", q.PricingPlanSubscriptionID},
		{"pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference},
		{"product_item_id", q.ProductItemID},
	} {
		if filter.value != "" {
			// The second condition is that of the partial indexes.
			and("e."+filter.column+" = ? AND e."+filter.column+" <> ''", filter.value)
		}
	}
	instant := func(t *time.Time, comparison string) {
		if t != nil {
			and("(e.timestamp_s, e.timestamp_ns) "+comparison+" (?, ?)", t.Unix(), t.Nanosecond())
		}
	}
	instant(q.From, ">=")
	instant(q.To, "<")
	and("e.seq <= ?", newest)
	direction := "DESC"
	if q.Order == chargeingest.Ascending {
		direction = "ASC"
		and("e.seq > ?", after)
	} else if q.After != "" {
		and("e.seq < ?", after)
	}
	most := int64(math.MaxInt64)
	if q.MaxBytes > 0 {
		most = int64(q.MaxBytes)
	}
	arguments = append(arguments, int64(q.Limit)+1, most)
	n := len(arguments)
	return strings.NewReplacer("$where", strings.Join(where, " AND "), "$direction", direction,
		"$limit", "$"+strconv.Itoa(n-1), "$max", "$"+strconv.Itoa(n)).Replace(s.sql.list), arguments
}
