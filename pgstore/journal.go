package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

var (
	_ relay.Journal = (*Journal)(nil)
	_ relay.Ledger  = (*Journal)(nil)
)

// Journal is a [relay.Journal] and a [relay.Ledger] in the tables of a [Store]. Leases end by
// the server's clock. Other times are in microseconds.
type Journal struct{ store *Store }

// Journal returns the journal of the store. It uses at most half of the pool's connections.
func (s *Store) Journal() *Journal { return &Journal{s} }

// Lease implements [relay.Journal].
func (j *Journal) Lease(ctx context.Context, stream relay.Stream, r relay.LeaseRequest) (state relay.State, err error) {
	sql := &j.store.sql.relay
	platform, destination := escapedStream(stream)
	err = j.write(ctx, platform, func(tx pgx.Tx) error {
		for {
			err := tx.QueryRow(ctx, sql.lease, platform, destination, escapeName(r.Holder), r.TTL.Microseconds()).
				Scan(&state.Token, &state.Position, &state.LastEventID)
			if !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
			var retired bool
			err = tx.QueryRow(ctx, sql.findStream, platform, destination).Scan(&retired)
			switch {
			case errors.Is(err, pgx.ErrNoRows):
				err = j.create(ctx, tx, stream, r.Position)
			case err == nil && retired:
				err = relay.ErrRetired
			case err == nil:
				err = relay.ErrLeaseHeld
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil {
		return relay.State{}, err
	}
	state.Position, state.LastEventID = unescapeName(state.Position), unescapeName(state.LastEventID)
	return state, nil
}

func (j *Journal) create(ctx context.Context, tx pgx.Tx, stream relay.Stream, position string) error {
	platform, destination := escapedStream(stream)
	if _, err := tx.Exec(ctx, j.store.sql.relay.lockPlatform, platform); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, j.store.sql.relay.create, platform, destination, escapeName(position), seqOf(position))
	return err
}

// Save implements [relay.Journal].
func (j *Journal) Save(ctx context.Context, stream relay.Stream, p relay.Progress) error {
	sql := &j.store.sql.relay
	platform, destination := escapedStream(stream)
	var failure *string
	if p.Failure != nil {
		failure = new(cleanText(*p.Failure))
	}
	b := new(pgx.Batch)
	b.Queue(sql.save, platform, destination, p.Token, escapeName(p.Position), seqOf(p.Position), escapeName(p.LastEventID),
		p.Delivered, p.Repeated, failure)
	for _, c := range p.Entries {
		a := cleanAttempt(c.Attempt)
		var next *time.Time
		if c.State == relay.Parked {
			next = &c.NextAttempt
		}
		var reason relay.Reason
		if c.State != relay.DeliveredState {
			reason = a.Reason
		}
		b.Queue(sql.change, platform, destination, escapeName(c.EventID), string(c.State), a.At, next, encoded(reason), encoded(a))
	}
	return j.write(ctx, platform, func(tx pgx.Tx) error {
		results := tx.SendBatch(ctx, b)
		tag, err := results.Exec()
		if err == nil && tag.RowsAffected() == 0 {
			err = relay.ErrLeaseLost
		}
		return errors.Join(err, results.Close())
	})
}

// Due implements [relay.Journal].
func (j *Journal) Due(ctx context.Context, stream relay.Stream, now time.Time, limit int) (due []relay.Entry, next time.Time, err error) {
	platform, destination := escapedStream(stream)
	err = j.call(ctx, platform, func() error {
		return j.store.query(ctx, func(ctx context.Context, tx pgx.Tx) error {
			due, next = nil, time.Time{}
			rows, err := tx.Query(ctx, j.store.sql.relay.due, platform, destination, limit+1)
			if err != nil {
				return err
			}
			for rows.Next() && next.IsZero() {
				e, err := scanEntry(rows)
				switch {
				case err != nil:
					return err
				case len(due) == limit || e.NextAttempt.After(now):
					next = e.NextAttempt
				default:
					due = append(due, e)
				}
			}
			rows.Close()
			return rows.Err()
		})
	})
	return due, next, err
}

// call waits for a turn of the platform. Errors of f name a missing privilege.
func (j *Journal) call(ctx context.Context, platform string, f func() error) error {
	s := j.store
	if err := s.beginRead(ctx); err != nil {
		return err
	}
	defer s.reading.Done()
	leave, err := s.enter(ctx, s.journal, platform, s.options.AcquireTimeout, chargeingest.ErrOverloaded)
	if err != nil {
		return err
	}
	defer leave()
	err = f()
	if codeOf(err) == codeInsufficientPrivilege {
		err = errors.Join(s.query(ctx, func(ctx context.Context, tx pgx.Tx) error {
			return checkPrivileges(tx.QueryRow(ctx, s.sql.relay.missingPrivileges))
		}), err)
	}
	return err
}

func (j *Journal) write(ctx context.Context, platform string, f func(pgx.Tx) error) error {
	return j.call(ctx, platform, func() error {
		limited, cancel := context.WithTimeout(ctx, groupTimeoutFactor*j.store.options.StatementTimeout)
		defer cancel()
		err := j.store.writeTransaction(limited, f)
		for _, known := range []error{relay.ErrLeaseHeld, relay.ErrLeaseLost, relay.ErrRetired, chargeingest.ErrNotFound, chargeingest.ErrClosed} {
			if errors.Is(err, known) {
				return known
			}
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return fmt.Errorf("pgstore: relay journal: %w", err)
	})
}

func escapedStream(s relay.Stream) (platform, destination string) {
	return escapeName(s.Platform), escapeName(s.Destination)
}

// seqOf returns nil for the position of another store.
func seqOf(position string) *int64 {
	if position == "" {
		return new(int64)
	}
	seq, _, err := decodeCursor(position)
	if err != nil {
		return nil
	}
	return &seq
}

// cleanText replaces bytes that a text of the database cannot have.
func cleanText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

func cleanAttempt(a relay.Attempt) relay.Attempt {
	r := &a.Reason
	for _, text := range []*string{&a.Outcome, &a.By, &r.Code, &r.Field, &r.Message} {
		*text = cleanText(*text)
	}
	return a
}

func encoded(value any) string {
	text, _ := json.Marshal(value) // no floats, maps or interfaces
	return string(text)
}
