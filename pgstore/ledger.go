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

// Status implements [relay.Ledger]. Lag may count events that Prune deleted before
// the stream was created.
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

// pageOf reads up to one entry more than the limit.
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

// Resolve implements [relay.Ledger]. The stream is locked meanwhile.
func (j *Journal) Resolve(ctx context.Context, r relay.Resolution) (changed int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	sql := &j.store.sql.relay
	platform, destination := escapedStream(r.Stream)
	statement, decision := sql.retire, cleanText(r.By)
	arguments := []any{platform, destination, r.At, decision}
	if r.Action != relay.Retire {
		statement = map[relay.Action]string{relay.Retry: sql.retry, relay.Skip: sql.skip}[r.Action]
		arguments[3] = encoded(cleanAttempt(relay.Attempt{At: r.At, Outcome: string(r.Action), By: r.By}))
		var condition string
		condition, arguments = entryFilter(r.EventIDs, r.State, r.Code, arguments...)
		statement += condition
	}
	err = j.write(ctx, platform, func(tx pgx.Tx) error {
		var retired bool
		err := tx.QueryRow(ctx, sql.lockStream, platform, destination).Scan(&retired)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			err = chargeingest.ErrNotFound
		case err == nil && retired && r.Action == relay.Retry:
			err = relay.ErrRetired
		}
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, statement, arguments...)
		if changed = tag.RowsAffected(); r.Action == relay.Retire {
			changed = 0
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}
