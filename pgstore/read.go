package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
)

// call is how a read takes its turn.
type call struct {
	platform string
	scan     bool
}

// begin registers a read, which Close waits for.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chargeingest.ErrClosed
	}
	s.reading.Add(1)
	return nil
}

// takeTurn waits until a call may use a connection. What it waits for is bounded as
// what it does then: a scan by ScanTimeout, and every call by AcquireTimeout.
func (s *Store) takeTurn(ctx context.Context, c call) (leave func(), err error) {
	enter := func(g *limits.Gate, limit time.Duration, failure error) (func(), error) {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		leave, err := g.Enter(limited, c.platform)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("pgstore: %w: no turn within %v", failure, limit)
		}
		return leave, err
	}
	if !c.scan {
		return enter(s.reads, s.options.AcquireTimeout, chargeingest.ErrOverloaded)
	}
	endScan, err := enter(s.scans, s.options.ScanTimeout, chargeingest.ErrScanLimit)
	if err != nil {
		return nil, err
	}
	endRead, err := enter(s.reads, s.options.AcquireTimeout, chargeingest.ErrOverloaded)
	if err != nil {
		endScan()
		return nil, err
	}
	return func() { endRead(); endScan() }, nil
}

// read runs f in a transaction that only reads, in the turn of its platform.
func (s *Store) read(ctx context.Context, c call, f func(context.Context, pgx.Tx) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.reading.Done()
	leave, err := s.takeTurn(ctx, c)
	if err != nil {
		return err
	}
	defer leave()
	return s.query(ctx, f)
}

// query runs f in a transaction that only reads, within the time that reading may
// take.
func (s *Store) query(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	conn, err := acquire(ctx, s.pool, s.options.AcquireTimeout)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("pgstore: %w", err)
	}
	defer func() {
		if err := release(conn); err != nil {
			log(s.options.Logger, slog.LevelError, "pgstore: a connection was not released", err)
		}
	}()
	// The server ends what takes too long; the client, a second later, a server
	// that is gone.
	limited, cancel := context.WithTimeout(ctx, s.options.ScanTimeout+time.Second)
	defer cancel()
	for n := 0; ; n++ {
		err = s.transact(limited, conn, f)
		if codeOf(err) != codeNotSupported || n == maxReplans {
			break
		}
	}
	if errors.Is(err, errReadOnly) {
		s.reset()
	}
	switch {
	case err == nil, errors.Is(err, chargeingest.ErrNotFound), errors.Is(err, chargeingest.ErrInvalidCursor):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case codeOf(err) == codeQueryCanceled, limited.Err() != nil:
		return fmt.Errorf("pgstore: %w: more than %v", chargeingest.ErrScanLimit, s.options.ScanTimeout)
	}
	return fmt.Errorf("pgstore: read: %w", err)
}

// transact runs f in a transaction that only reads. Its statements are prepared
// within it, so that its timeouts bound that, too.
func (s *Store) transact(ctx context.Context, conn *pgxpool.Conn, f func(context.Context, pgx.Tx) error) (err error) {
	defer panics.RecoverTo(&err)
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		set := new(pgx.Batch)
		set.Queue(s.sql.timeouts, milliseconds(s.options.ScanTimeout), milliseconds(s.options.ScanTimeout))
		set.Queue(s.sql.plans)
		if err := tx.SendBatch(ctx, set).Close(); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (e chargeingest.StoredEvent, err error) {
	if !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return e, chargeingest.ErrNotFound // no text that the database can look for
	}
	err = s.read(ctx, call{platform: platformText(platform)}, func(ctx context.Context, tx pgx.Tx) error {
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
	err = s.read(ctx, call{platform: q.Platform, scan: isScan(&q)}, func(ctx context.Context, tx pgx.Tx) error {
		page, err = s.list(ctx, tx, q) // from its beginning if it is tried again
		return err
	})
	return page, err
}

// isScan reports whether a listing may read many more events than it returns. A page
// without filters is a range of the primary key, a reference leads to one event, and a
// customer alone is a range of an index. Any other filter is checked event by event,
// next to a customer too.
func isScan(q *chargeingest.Query) bool {
	if q.Reference != "" {
		return false
	}
	filters := 0
	for _, value := range []string{q.CustomerID, q.CustomerReference} {
		if value != "" {
			filters++
		}
	}
	unindexed := q.From != nil || q.To != nil ||
		q.PricingPlanSubscriptionID != "" || q.PricingPlanSubscriptionReference != "" || q.ProductItemID != ""
	return unindexed || filters > 1
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
		return page, fmt.Errorf("%w: %q is of events that this database does not have", chargeingest.ErrInvalidCursor, q.After)
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
		err = fmt.Errorf("%w: %q", chargeingest.ErrInvalidCursor, text)
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
	arguments = append(arguments, min(int64(q.Limit), math.MaxInt64-1)+1, most)
	n := len(arguments)
	return strings.NewReplacer("$where", strings.Join(where, " AND "), "$direction", direction,
		"$limit", "$"+strconv.Itoa(n-1), "$max", "$"+strconv.Itoa(n)).Replace(s.sql.list), arguments
}
