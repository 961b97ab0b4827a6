package pgstore

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

// List implements [chargeingest.EventReader]. A cursor is a position in its platform's
// sequence.
func (s *Store) List(ctx context.Context, q chargeingest.Query) (page chargeingest.Page, err error) {
	q.Platform = escapeName(q.Platform)
	err = s.read(ctx, q.Platform, isScan(&q), func(ctx context.Context, tx pgx.Tx) error {
		page, err = s.list(ctx, tx, q)
		return err
	})
	return page, err
}

// isScan reports whether no index matches the filter: a listing can read many events.
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
	var idSuffix string
	if q.After != "" {
		if after, idSuffix, err = decodeCursor(q.After); err != nil {
			return page, err
		}
	}
	// Later events have positions after newest.
	var newest int64
	var newestID, lastID string
	if err := tx.QueryRow(ctx, s.sql.listBounds, q.Platform, after).Scan(&newest, &newestID, &lastID); err != nil {
		return page, err
	}
	if after > newest || lastID != "" && idSuffix != idSuffixOf(lastID) {
		// After a failover or restore that lost events, the cursor would skip new ones.
		return page, fmt.Errorf("%w: %q is after an event that this database does not have", chargeingest.ErrInvalidCursor, q.After)
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
			last, lastID = newest, newestID
		}
		page.Position = encodeCursor(last, lastID)
	}
	return page, nil
}

const idSuffixLength = 10 // random characters

func idSuffixOf(id string) string { return id[max(0, len(id)-idSuffixLength):] }

// encodeCursor includes a part of the id: a standby that lacks the event would reuse its
// position.
func encodeCursor(seq int64, id string) string { return cursor.Encode(seq) + idSuffixOf(id) }

func decodeCursor(text string) (seq int64, idSuffix string, err error) {
	position := text[:min(len(text), len(cursor.Encode(0)))]
	seq, err = cursor.Decode(position)
	if idSuffix = text[len(position):]; err == nil && idSuffix != "" && len(idSuffix) != idSuffixLength {
		err = fmt.Errorf("%w: %q", chargeingest.ErrInvalidCursor, text)
	}
	return seq, idSuffix, err
}

// listQuery selects one event more than the limit.
func (s *Store) listQuery(q chargeingest.Query, after, newest int64) (string, []any) {
	var arguments []any
	var conditions []string
	and := func(condition string, values ...any) {
		for _, v := range values {
			arguments = append(arguments, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(arguments)), 1)
		}
		conditions = append(conditions, condition)
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
			// for the partial indexes
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
	maxBytes := int64(math.MaxInt64)
	if q.MaxBytes > 0 {
		maxBytes = int64(q.MaxBytes)
	}
	arguments = append(arguments, min(int64(q.Limit), math.MaxInt64-1)+1, maxBytes)
	n := len(arguments)
	return strings.NewReplacer("$where", strings.Join(conditions, " AND "), "$direction", direction,
		"$limit", "$"+strconv.Itoa(n-1), "$maxbytes", "$"+strconv.Itoa(n)).Replace(s.sql.list), arguments
}
