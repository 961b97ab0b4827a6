package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/relay"
)

// Status implements [relay.Ledger]. Lag may count events that were pruned before the stream was
// created.
func (j *Journal) Status(ctx context.Context, platform string) (list []relay.Status, err error) {
	platform = escapeName(platform)
	err = j.store.read(ctx, platform, false, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, j.store.sql.relay.status, platform)
		if err == nil {
			list, err = pgx.CollectRows(rows, scanStatus)
		}
		return err
	})
	slices.SortFunc(list, func(a, b relay.Status) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Platform, b.Platform))
	})
	return list, err
}

func scanStatus(row pgx.CollectableRow) (relay.Status, error) {
	s := relay.Status{Lag: -1}
	var seq, pending *int64
	var last int64
	var oldest, saved, failing, retired *time.Time
	err := row.Scan(&s.Destination, &s.Platform, &s.Position, &s.LastEventID, &seq, &last, &pending, &oldest,
		&s.Parked, &s.Dead, &s.Skipped, &s.Delivered, &s.Repeated, &saved, &s.Failure, &failing, &retired, &s.RetiredBy)
	for _, name := range []*string{&s.Destination, &s.Platform, &s.Position, &s.LastEventID} {
		*name = unescapeName(*name)
	}
	switch {
	case seq == nil || *seq > last:
	case pending == nil:
		s.Lag = 0
	default: // Prune may have deleted the events between them
		s.Lag, s.OldestPending = last-*pending+1, utc(oldest)
	}
	s.SavedAt, s.FailingSince, s.RetiredAt = utc(saved), utc(failing), utc(retired)
	return s, err
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// Entries implements [relay.Ledger].
func (j *Journal) Entries(ctx context.Context, q relay.EntryQuery) (page relay.EntryPage, err error) {
	if q.Platform == "" {
		return page, chargeingest.ErrNotFound
	}
	platform, destination := escapedStream(q.Stream)
	err = j.store.read(ctx, platform, false, func(ctx context.Context, tx pgx.Tx) error {
		var retired bool
		err := tx.QueryRow(ctx, j.store.sql.relay.findStream, platform, destination).Scan(&retired)
		if errors.Is(err, pgx.ErrNoRows) {
			return chargeingest.ErrNotFound
		}
		if err != nil {
			return err
		}
		if q.EventID != "" {
			page, err = j.entry(ctx, tx, platform, destination, q.EventID)
		} else {
			page, err = j.entries(ctx, tx, q)
		}
		return err
	})
	return page, err
}

func (j *Journal) entry(ctx context.Context, tx pgx.Tx, platform, destination, id string) (relay.EntryPage, error) {
	rows, err := tx.Query(ctx, j.store.sql.relay.entry, platform, destination, escapeName(id))
	if err != nil {
		return relay.EntryPage{}, err
	}
	page, err := pageOf(rows, 1)
	if err != nil || len(page.Entries) > 0 {
		return page, err
	}
	e := relay.Entry{EventID: id}
	err = tx.QueryRow(ctx, j.store.sql.relay.eventState, platform, destination, escapeName(id)).Scan(&e.State)
	if errors.Is(err, pgx.ErrNoRows) {
		err = chargeingest.ErrNotFound
	}
	return relay.EntryPage{Entries: []relay.Entry{e}}, err
}

func (j *Journal) entries(ctx context.Context, tx pgx.Tx, q relay.EntryQuery) (page relay.EntryPage, err error) {
	platform, destination := escapedStream(q.Stream)
	var after int64
	if q.After != "" {
		var exists bool
		if after, err = cursor.Decode(q.After); err == nil {
			err = tx.QueryRow(ctx, j.store.sql.relay.isEntry, platform, destination, after).Scan(&exists)
		}
		if err == nil && !exists {
			err = fmt.Errorf("%w: %q", chargeingest.ErrInvalidCursor, q.After)
		}
		if err != nil {
			return page, err
		}
	}
	conditions, arguments := entryFilter(nil, q.State, q.Code, platform, destination, after, int64(q.Limit)+1)
	rows, err := tx.Query(ctx, j.store.sql.relay.entries+" AND "+conditions+" ORDER BY e.number LIMIT $4", arguments...)
	if err != nil {
		return page, err
	}
	return pageOf(rows, q.Limit)
}

func entryFilter(ids []string, state relay.EntryState, code string, given ...any) (condition string, arguments []any) {
	arguments, condition = given, "true"
	and := func(text string, value any) {
		arguments = append(arguments, value)
		condition += " AND " + text + "$" + strconv.Itoa(len(arguments))
	}
	if len(ids) > 0 {
		escaped := make([]string, len(ids))
		for i, id := range ids {
			escaped[i] = escapeName(id)
		}
		and("e.event_id = ANY(", escaped)
		return condition + "::text[])", arguments
	}
	if state != "" {
		and("e.state = ", string(state))
	}
	if code != "" {
		and("e.reason->>'code' = ", cleanText(code))
	}
	return condition, arguments
}

func pageOf(rows pgx.Rows, limit int) (page relay.EntryPage, err error) {
	defer rows.Close()
	var last int64
	for rows.Next() {
		var number int64
		var history []relay.Attempt
		e, err := scanEntry(rows, &history, &number)
		if err != nil {
			return page, err
		}
		if len(page.Entries) == limit {
			page.Next = cursor.Encode(last)
			break
		}
		e.History = history
		page.Entries = append(page.Entries, e)
		last = number
	}
	rows.Close()
	return page, rows.Err()
}

func scanEntry(row pgx.Row, more ...any) (e relay.Entry, err error) {
	var next *time.Time
	err = row.Scan(append([]any{&e.EventID, &e.State, &e.Attempts, &e.Since, &next, &e.Reason}, more...)...)
	e.EventID, e.Since, e.NextAttempt = unescapeName(e.EventID), e.Since.UTC(), utc(next)
	return e, err
}

// resolveBatch bounds the wait of a Save.
const resolveBatch = 1000

// Resolve implements [relay.Ledger]. Each transaction locks the stream.
func (j *Journal) Resolve(ctx context.Context, r relay.Resolution) (changed int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	sql := &j.store.sql.relay
	platform, destination := escapedStream(r.Stream)
	if r.Action == relay.Retire {
		return 0, j.resolve(ctx, r, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, sql.retire, platform, destination, r.At, cleanText(r.By))
			return err
		})
	}
	update := map[relay.Action]string{relay.Retry: sql.retry, relay.Skip: sql.skip}[r.Action]
	arguments := []any{platform, destination, r.At, encoded(cleanAttempt(relay.Attempt{At: r.At, Outcome: string(r.Action), By: r.By}))}
	if len(r.EventIDs) > 0 {
		condition, arguments := entryFilter(r.EventIDs, "", "", arguments...)
		err := j.resolve(ctx, r, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, update+condition, arguments...)
			changed = tag.RowsAffected()
			return err
		})
		if err != nil {
			return 0, err
		}
		return changed, nil
	}
	var after, newest int64
	for first := true; first || after < newest; first = false {
		var n, last int64
		err := j.resolve(ctx, r, func(tx pgx.Tx) error {
			if first {
				if err := tx.QueryRow(ctx, sql.newestEntry, platform, destination).Scan(&newest); err != nil {
					return err
				}
			}
			condition, filter := entryFilter(nil, r.State, r.Code, platform, destination, after, int64(resolveBatch))
			rows, err := tx.Query(ctx, sql.entryNumbers+condition+" ORDER BY e.number LIMIT $4", filter...)
			if err != nil {
				return err
			}
			numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			if last = newest; len(numbers) == resolveBatch {
				last = numbers[len(numbers)-1]
			}
			tag, err := tx.Exec(ctx, update+"e.number = ANY($5::bigint[])", append(arguments, numbers)...)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return changed, err
		}
		changed, after = changed+n, last
	}
	return changed, nil
}

func (j *Journal) resolve(ctx context.Context, r relay.Resolution, f func(pgx.Tx) error) error {
	platform, destination := escapedStream(r.Stream)
	return j.write(ctx, platform, func(tx pgx.Tx) error {
		var retired bool
		err := tx.QueryRow(ctx, j.store.sql.relay.lockStream, platform, destination).Scan(&retired)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			err = chargeingest.ErrNotFound
		case err == nil && retired && r.Action == relay.Retry:
			err = relay.ErrRetired
		}
		if err != nil {
			return err
		}
		return f(tx)
	})
}
