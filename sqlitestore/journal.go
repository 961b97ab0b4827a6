package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/relay"
)

var (
	_ relay.Journal = (*Journal)(nil)
	_ relay.Ledger  = (*Journal)(nil)
)

// Journal is a [relay.Journal] and a [relay.Ledger] in the database of a [Store]. Its changes
// are as durable as events, and share their transactions.
type Journal struct{ store *Store }

// Journal returns the journal of the store.
func (s *Store) Journal() *Journal { return &Journal{s} }

// Leases are in memory: only one Store can have the database open.
type lease struct {
	token  int64
	holder string
	ends   time.Time
}

func (j *Journal) change(ctx context.Context, f func(*session) error) error {
	if j.store.running.Err() != nil {
		return chargeingest.ErrClosed
	}
	err := j.store.writer.change(ctx, f)
	if err != nil && ctx.Err() == nil && !isRefusal(err) {
		err = fmt.Errorf("sqlitestore: journal: %w", err)
	}
	return err
}

type stream struct {
	relay.State
	id      int64 // 0: none
	retired bool
}

func (s *session) stream(name relay.Stream) (st stream, err error) {
	rows, err := s.findStream.query(name.Destination, name.Platform)
	if err == nil && len(rows) > 0 {
		err = scan(rows[0], &st.id, &st.Token, &st.Position, &st.LastEventID, &st.retired)
	}
	return st, err
}

// Lease implements [relay.Journal].
func (j *Journal) Lease(ctx context.Context, name relay.Stream, r relay.LeaseRequest) (relay.State, error) {
	var state relay.State
	err := j.change(ctx, func(s *session) error {
		leases, now := j.store.writer.leases, time.Now()
		last := leases[name]
		held := now.Before(last.ends)
		if held && last.holder != r.Holder {
			return relay.ErrLeaseHeld
		}
		st, err := s.stream(name)
		if err != nil {
			return err
		}
		if st.retired {
			return relay.ErrRetired
		}
		if st.id == 0 {
			st.Position = r.Position
			if _, err := s.addStream.exec(name.Destination, name.Platform, r.Position, positionSeq(r.Position)); err != nil {
				return err
			}
		}
		st.Token = max(st.Token, last.token)
		if !held && r.TTL > 0 {
			st.Token++
		}
		leases[name] = lease{st.Token, r.Holder, now.Add(r.TTL)}
		state = st.State
		return nil
	})
	if err != nil {
		return relay.State{}, err
	}
	return state, nil
}

func positionSeq(position string) driver.Value {
	if position == "" {
		return int64(0)
	}
	seq, err := cursor.Decode(position)
	if err != nil {
		return nil
	}
	return seq
}

// Save implements [relay.Journal].
func (j *Journal) Save(ctx context.Context, name relay.Stream, p relay.Progress) error {
	entries := make([]entryRow, len(p.Entries))
	for i, c := range p.Entries {
		var err error
		if entries[i], err = newEntryRow(c); err != nil {
			return fmt.Errorf("sqlitestore: journal: %w", err)
		}
	}
	return j.change(ctx, func(s *session) error {
		if last := j.store.writer.leases[name]; last.token == 0 || last.token != p.Token {
			return relay.ErrLeaseLost
		}
		st, err := s.stream(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, err := s.saveEntry.exec(st.id, e.id, e.state, e.since, e.next, e.code, e.reason, e.attempt); err != nil {
				return err
			}
		}
		now := time.Now().UnixNano()
		if _, err := s.saveStream.exec(st.id, p.Token, now, p.LastEventID, p.Delivered, p.Repeated, nullIfNil(p.Failure)); err != nil {
			return err
		}
		if p.Position != "" {
			_, err = s.savePosition.exec(st.id, p.Position, positionSeq(p.Position))
		}
		return err
	})
}

type entryRow struct {
	id, state, code, reason, attempt string
	since, next                      driver.Value
}

func newEntryRow(c relay.EntryChange) (e entryRow, err error) {
	e = entryRow{id: c.EventID, state: string(c.State), since: nanoseconds(c.Attempt.At)}
	if c.State == relay.Parked {
		e.next = nanoseconds(c.NextAttempt)
	}
	var failed relay.Reason
	if c.State != relay.DeliveredState {
		failed = c.Attempt.Reason
	}
	e.code = failed.Code
	if e.reason, err = encode(failed); err == nil {
		e.attempt, err = encode(c.Attempt)
	}
	return e, err
}

func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// nanoseconds returns NULL for the zero time.
func nanoseconds(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

func fromNanoseconds(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.Unix(0, n.Int64).UTC()
}

// record appends an attempt to a history, both JSON.
func record(history, attempt string) string {
	return "json_insert(iif(json_array_length(" + history + ") < 50, " + history + ", json_remove(" + history + ", '$[1]')), '$[#]', json(" + attempt + "))"
}

const (
	addStreamSQL  = "INSERT INTO relay_streams (destination, platform, position, seq) VALUES (?, ?, ?, ?)"
	findStreamSQL = "SELECT id, token, position, last_event_id, retired_ns IS NOT NULL FROM relay_streams WHERE destination = ? AND platform = ?"

	saveStreamSQL = `UPDATE relay_streams SET token = ?2, saved_ns = ?3, last_event_id = iif(?4 = '', last_event_id, ?4),
		delivered = delivered + ?5, repeated = repeated + ?6, failure = coalesce(?7, failure),
		failing_ns = CASE ?7 WHEN '' THEN NULL ELSE iif(?7 IS NULL, failing_ns, coalesce(failing_ns, ?3)) END WHERE id = ?1`
	savePositionSQL = "UPDATE relay_streams SET position = ?2, seq = ?3 WHERE id = ?1"
)

func saveEntrySQL() string {
	return `INSERT INTO relay_entries (stream, event_id, state, attempts, since_ns, next_ns, code, reason, history)
		VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, json_array(json(?8)))
		ON CONFLICT (stream, event_id) DO UPDATE SET state = ?3, attempts = attempts + 1, next_ns = ?5,
			code = iif(?3 = 'delivered', code, ?6), reason = iif(?3 = 'delivered', reason, ?7), history = ` + record("history", "?8") + `
		WHERE state <> 'skipped' OR ?3 = 'delivered'`
}

// Due implements [relay.Journal].
func (j *Journal) Due(ctx context.Context, name relay.Stream, now time.Time, limit int) (due []relay.Entry, next time.Time, err error) {
	err = j.store.read(ctx, name.Platform, false, func(ctx context.Context, tx *sql.Tx) error {
		return eachRow(ctx, tx, func(rows *sql.Rows) error {
			_, e, err := scanEntry(rows)
			if err == nil && (len(due) == limit || e.NextAttempt.After(now)) {
				next, err = e.NextAttempt, io.EOF
			}
			if err == nil {
				due = append(due, e)
			}
			return err
		}, dueSQL, name.Destination, name.Platform, min(int64(limit), math.MaxInt64-1)+1)
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, time.Time{}, err
	}
	return due, next, nil
}

const dueSQL = "SELECT " + entryColumns + ` FROM relay_entries INDEXED BY relay_entries_due
	WHERE stream = (SELECT id FROM relay_streams WHERE destination = ? AND platform = ?) AND state = 'parked' ORDER BY next_ns LIMIT ?`

const entryColumns = "id, event_id, state, attempts, since_ns, next_ns, reason, history"

func scanEntry(rows *sql.Rows) (id int64, e relay.Entry, err error) {
	var since, next sql.NullInt64
	var reason, history []byte
	if err = rows.Scan(&id, &e.EventID, &e.State, &e.Attempts, &since, &next, &reason, &history); err != nil {
		return 0, e, err
	}
	e.Since, e.NextAttempt = fromNanoseconds(since), fromNanoseconds(next)
	if err = json.Unmarshal(reason, &e.Reason); err == nil {
		err = json.Unmarshal(history, &e.History)
	}
	return id, e, err
}
