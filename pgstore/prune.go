package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
)

const (
	// pruneBatch is in events. The events of a key are never split.
	pruneBatch = 200

	maxPruneAttempts = 5
)

// Prune deletes the events that were received before a time, to the millisecond. It returns
// their number, even with an error. Their references can be used again.
//
// An idempotency key recorded before that time is deleted in one transaction with the events
// it returned. Events that a later key also returned stay until that key is deleted.
//
// Each small transaction locks one platform. Several processes may prune at once. Close ends
// Prune with chargeingest.ErrClosed. The role needs DELETE on all tables but platforms.
func (s *Store) Prune(ctx context.Context, before time.Time) (deleted int64, err error) {
	if err := s.beginRead(ctx); err != nil {
		return 0, err
	}
	defer s.reading.Done()
	defer func() {
		if err != nil && !errors.Is(err, chargeingest.ErrClosed) {
			err = fmt.Errorf("pgstore: prune: %w", err)
		}
	}()
	err = s.pruneTransaction(ctx, func(tx pgx.Tx) error {
		return checkPrivileges(tx.QueryRow(ctx, s.sql.missingDelete))
	})
	if err != nil {
		return 0, err
	}
	p := pruning{store: s, before: time.UnixMilli(before.UnixMilli())}
	p.last.received = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	for {
		groups, err := p.nextGroups(ctx)
		if err != nil || len(groups) == 0 {
			return deleted, err
		}
		for _, g := range groups {
			if s.isClosed() {
				return deleted, chargeingest.ErrClosed
			}
			n, err := p.delete(ctx, g)
			if deleted += n; err != nil {
				return deleted, err
			}
		}
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

type pruning struct {
	store  *Store
	before time.Time // in whole milliseconds

	last struct { // of the events found so far
		received pgtype.Timestamptz
		platform string
		seq      int64
	}
}

type pruneGroup struct {
	platform string
	ids      []string
}

func (p *pruning) nextGroups(ctx context.Context) (groups []*pruneGroup, err error) {
	const maxFound = 10
	err = p.store.pruneTransaction(ctx, func(tx pgx.Tx) error {
		next, open := p.last, make(map[string]*pruneGroup)
		groups = nil
		rows, err := tx.Query(ctx, p.store.sql.oldEvents, p.before, next.received, next.platform, next.seq, maxFound*p.store.pruneBatch)
		if err != nil {
			return err
		}
		var id string
		_, err = pgx.ForEachRow(rows, []any{&next.platform, &next.seq, &id, &next.received}, func() error {
			g := open[next.platform]
			if g == nil || len(g.ids) == p.store.pruneBatch {
				g = &pruneGroup{platform: next.platform}
				groups, open[next.platform] = append(groups, g), g
			}
			g.ids = append(g.ids, id)
			return nil
		})
		if err == nil {
			p.last = next
		}
		return err
	})
	return groups, err
}

// delete first locks the platform, so that no request returns one of the events meanwhile.
func (p *pruning) delete(ctx context.Context, g *pruneGroup) (n int64, err error) {
	sql := p.store.sql
	err = p.store.pruneTransaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql.lockForPrune, g.platform); err != nil {
			return err
		}
		keys, ids, err := p.oldRequests(ctx, tx, g)
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			if _, err := tx.Exec(ctx, sql.deleteRequests, g.platform, keys); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, sql.deleteEvents, g.platform, ids, p.before).Scan(&n)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (p *pruning) oldRequests(ctx context.Context, tx pgx.Tx, g *pruneGroup) (keys, ids []string, err error) {
	rows, err := tx.Query(ctx, p.store.sql.oldRequests, g.platform, g.ids, p.before)
	if err != nil {
		return nil, nil, err
	}
	ids = slices.Clone(g.ids)
	var key string
	var returned []string
	_, err = pgx.ForEachRow(rows, []any{&key, &returned}, func() error {
		keys, ids = append(keys, key), append(ids, returned...)
		return nil
	})
	return keys, ids, err
}

func (s *Store) pruneTransaction(ctx context.Context, f func(pgx.Tx) error) error {
	for n := 1; ; n++ {
		err := s.tryPruneTransaction(ctx, f)
		code := codeOf(err)
		if code == codeReadOnly {
			s.resetPool()
		}
		again := isTransient(err) || code == codeLockNotAvailable || code == codeNotSupported
		if !again || n == maxPruneAttempts || !pause(ctx, n) {
			return err
		}
	}
}

func (s *Store) tryPruneTransaction(ctx context.Context, f func(pgx.Tx) error) (err error) {
	if s.isClosed() {
		return chargeingest.ErrClosed
	}
	conn, err := acquire(ctx, s.pool, s.options.AcquireTimeout)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer func() { err = errors.Join(err, release(conn)) }()
	defer panics.RecoverTo(&err)
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		set := new(pgx.Batch)
		set.Queue(s.sql.timeouts, milliseconds(s.options.StatementTimeout), milliseconds(s.options.StatementTimeout/lockShare))
		set.Queue(s.sql.indexPlans)
		if err := tx.SendBatch(ctx, set).Close(); err != nil {
			return err
		}
		return f(tx)
	})
}
