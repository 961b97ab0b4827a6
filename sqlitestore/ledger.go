package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"math"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/relay"
)

var _ relay.PlatformLister = (*Store)(nil)

// Platforms implements [relay.PlatformLister].
func (s *Store) Platforms(ctx context.Context, after string, limit int) (list []string, err error) {
	err = s.read(ctx, "", false, func(ctx context.Context, tx *sql.Tx) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			list = append(list, name)
			return err
		}, `SELECT name FROM platforms WHERE name > ? AND EXISTS (SELECT 1 FROM events INDEXED BY events_platform WHERE platform = platforms.id)
			ORDER BY name LIMIT ?`, after, limit)
	})
	return list, err
}

type querier interface {
	QueryContext(ctx context.Context, query string, arguments ...any) (*sql.Rows, error)
}

func eachRow(ctx context.Context, db querier, f func(*sql.Rows) error, query string, arguments ...any) error {
	rows, err := db.QueryContext(ctx, query, arguments...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// pendingEvents completes expressions about the events after a position.
const pendingEvents = `FROM events INDEXED BY events_platform
	WHERE platform = (SELECT platforms.id FROM platforms WHERE name = relay_streams.platform) AND events.seq > relay_streams.seq`

const (
	maxExactLag = 10_000
	maxEntries  = "LIMIT 1000000"
)

// ?2 is maxExactLag. The count of later events is estimated.
const statusSQL = `SELECT destination, platform, position, last_event_id, delivered, repeated, saved_ns, failure, failing_ns, retired_ns, retired_by,
	(SELECT count(*) FROM (SELECT 1 FROM relay_entries WHERE stream = relay_streams.id AND state = 'parked' ` + maxEntries + `)),
	(SELECT count(*) FROM (SELECT 1 FROM relay_entries WHERE stream = relay_streams.id AND state = 'dead' ` + maxEntries + `)),
	(SELECT count(*) FROM (SELECT 1 FROM relay_entries WHERE stream = relay_streams.id AND state = 'skipped' ` + maxEntries + `)),
	iif(seq <= ` + newestSeq + `, coalesce(
		(SELECT ?2 + (` + newestSeq + ` - events.seq) * ?2 / (events.seq - relay_streams.seq) ` + pendingEvents + ` ORDER BY events.seq LIMIT 1 OFFSET ?2 - 1),
		(SELECT count(*) ` + pendingEvents + `)), -1),
	(SELECT received_s * 1000000000 + received_ns ` + pendingEvents + ` ORDER BY events.seq LIMIT 1)
	FROM relay_streams WHERE platform <> '' AND ?1 IN ('', platform) ORDER BY destination, platform`

// Status implements [relay.Ledger]. With several platforms, a Lag above 10,000 is estimated.
func (j *Journal) Status(ctx context.Context, platform string) (list []relay.Status, err error) {
	err = j.store.read(ctx, platform, true, func(ctx context.Context, tx *sql.Tx) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			var s relay.Status
			var saved, failing, retired, oldest sql.NullInt64
			err := rows.Scan(&s.Destination, &s.Platform, &s.Position, &s.LastEventID, &s.Delivered, &s.Repeated, &saved,
				&s.Failure, &failing, &retired, &s.RetiredBy, &s.Parked, &s.Dead, &s.Skipped, &s.Lag, &oldest)
			s.SavedAt, s.FailingSince, s.RetiredAt = fromNanoseconds(saved), fromNanoseconds(failing), fromNanoseconds(retired)
			s.OldestPending = fromNanoseconds(oldest)
			list = append(list, s)
			return err
		}, statusSQL, platform, maxExactLag)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Entries implements [relay.Ledger].
func (j *Journal) Entries(ctx context.Context, q relay.EntryQuery) (page relay.EntryPage, err error) {
	err = j.store.read(ctx, q.Platform, q.Code != "", func(ctx context.Context, tx *sql.Tx) error {
		var stream, after, newest int64
		err := tx.QueryRowContext(ctx, `SELECT id, (SELECT coalesce(max(id), 0) FROM relay_entries) FROM relay_streams
			WHERE destination = ? AND platform = ? AND platform <> ''`, q.Destination, q.Platform).Scan(&stream, &newest)
		if errors.Is(err, sql.ErrNoRows) {
			return chargeingest.ErrNotFound
		}
		if err == nil && q.EventID != "" {
			page.Entries, err = entryOf(ctx, tx, stream, q)
			return err
		}
		if err == nil && q.After != "" {
			if after, err = cursor.Decode(q.After); err == nil && after > newest {
				err = chargeingest.ErrInvalidCursor
			}
		}
		if err != nil {
			return err
		}
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			id, e, err := scanEntry(rows)
			if len(page.Entries) == q.Limit {
				page.Next = cursor.Encode(after)
				return err
			}
			page.Entries, after = append(page.Entries, e), id
			return err
		}, entriesSQL(q.State), stream, after, q.State, q.Code, min(int64(q.Limit), math.MaxInt64-1)+1)
	})
	if err != nil {
		return relay.EntryPage{}, err
	}
	return page, nil
}

func entriesSQL(state relay.EntryState) string {
	from := "relay_entries INDEXED BY relay_entries_stream WHERE ?3 = ''"
	if state != "" {
		from = "relay_entries INDEXED BY relay_entries_state WHERE state = ?3"
	}
	return "SELECT " + entryColumns + " FROM " + from + " AND stream = ?1 AND id > ?2 AND ?4 IN ('', code) ORDER BY id LIMIT ?5"
}

func entryOf(ctx context.Context, tx *sql.Tx, stream int64, q relay.EntryQuery) (list []relay.Entry, err error) {
	err = eachRow(ctx, tx, func(rows *sql.Rows) error {
		_, e, err := scanEntry(rows)
		list = append(list, e)
		return err
	}, "SELECT "+entryColumns+" FROM relay_entries WHERE stream = ? AND event_id = ?", stream, q.EventID)
	if err != nil || len(list) > 0 {
		return list, err
	}
	var delivered bool
	err = tx.QueryRowContext(ctx, `SELECT coalesce(events.seq <= relay_streams.seq, false) FROM events, relay_streams
		WHERE events.seq = `+seqByID+` AND events.id = ?1 AND events.platform = `+platformByName+` AND relay_streams.id = ?3`, q.EventID, q.Platform, stream).Scan(&delivered)
	if errors.Is(err, sql.ErrNoRows) {
		err = chargeingest.ErrNotFound
	}
	e := relay.Entry{EventID: q.EventID, State: relay.Pending}
	if delivered {
		e.State = relay.DeliveredState
	}
	return []relay.Entry{e}, err
}

// resolveBatch bounds how long a Resolve delays appends.
const resolveBatch = 500

// Resolve implements [relay.Ledger].
func (j *Journal) Resolve(ctx context.Context, r relay.Resolution) (changed int64, err error) {
	if err := r.Validate(); err != nil {
		return 0, err
	}
	if r.Action == relay.Retire {
		return 0, j.retire(ctx, r)
	}
	attempt, err := encode(relay.Attempt{At: r.At, Outcome: string(r.Action), By: r.By})
	if err != nil {
		return 0, err
	}
	if len(r.EventIDs) > 0 {
		return j.resolveEvents(ctx, r, attempt)
	}
	var after, newest int64
	for first := true; first || after < newest; first = false {
		var last, end, n int64 // the function can be called twice
		err := j.changeStream(ctx, r, func(s *session, st stream) error {
			rows, err := s.nextEntries.query(st.id, string(r.State), r.Code, after, int64(resolveBatch))
			if err == nil {
				err = scan(rows[0], &last, &end)
			}
			if err == nil {
				n, err = affected(s.resolveEntries.exec(st.id, string(r.Action), r.At.UnixNano(), attempt, string(r.State), r.Code, after, last))
			}
			return err
		})
		if err != nil {
			return changed, err
		}
		if first {
			newest = end
		}
		changed, after = changed+n, last
	}
	return changed, nil
}

func (j *Journal) resolveEvents(ctx context.Context, r relay.Resolution, attempt string) (int64, error) {
	eventIDs, err := encode(r.EventIDs)
	if err != nil {
		return 0, err
	}
	var changed int64
	err = j.changeStream(ctx, r, func(s *session, st stream) (err error) {
		changed, err = affected(s.resolveEvents.exec(st.id, string(r.Action), r.At.UnixNano(), attempt, eventIDs))
		return err
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}

func (j *Journal) retire(ctx context.Context, r relay.Resolution) error {
	return j.changeStream(ctx, r, func(s *session, st stream) error {
		_, err := s.retireStream.exec(st.id, r.At.UnixNano(), r.By)
		if last, ok := j.store.writer.leases[r.Stream]; ok {
			j.store.writer.leases[r.Stream] = lease{token: last.token}
		}
		return err
	})
}

func (j *Journal) changeStream(ctx context.Context, r relay.Resolution, f func(*session, stream) error) error {
	return j.change(ctx, func(s *session) error {
		st, err := s.stream(r.Stream)
		switch {
		case err == nil && st.id == 0:
			err = chargeingest.ErrNotFound
		case err == nil && st.retired && r.Action == relay.Retry:
			err = relay.ErrRetired
		}
		if err != nil {
			return err
		}
		return f(s, st)
	})
}

const (
	retireStreamSQL = "UPDATE relay_streams SET retired_ns = ?2, retired_by = ?3 WHERE id = ?1 AND retired_ns IS NULL"

	nextEntriesSQL = `SELECT iif(count(*) < ?5, newest, max(id)), newest FROM (SELECT coalesce(max(id), 0) AS newest FROM relay_entries)
		LEFT JOIN (SELECT id FROM relay_entries INDEXED BY relay_entries_state WHERE stream = ?1 AND state = ?2 AND ?3 IN ('', code) AND id > ?4 ORDER BY id LIMIT ?5)`
)

// resolveSQL changes the entries that meet the condition.
func resolveSQL(condition string) string {
	return `UPDATE relay_entries SET state = iif(?2 = 'retry', 'parked', 'skipped'), since_ns = iif(?2 = 'retry', ?3, since_ns),
			next_ns = iif(?2 = 'retry', ?3, NULL), history = ` + record("history", "?4") + `
		WHERE stream = ?1 AND (state IN ('parked', 'dead') OR state = 'skipped' AND ?2 = 'retry') AND ` + condition
}
