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
)

// In events. Those of a key are never split.
const pruneBatch = 200

// Prune deletes the events that were received before a time, to the millisecond. It returns
// their number, even with an error. Their references can be used again.
//
// An idempotency key recorded before that time is deleted in one transaction with the events
// it returned. Events that a later key also returned stay until that key is deleted.
//
// Events that a stream of the journal has not delivered stay until its destination is retired:
// those from its position, and parked and dead ones.
//
// Each small transaction locks one platform. Several processes may prune at once. Close ends
// Prune with chargeingest.ErrClosed. docs/postgres.md has the necessary privileges.
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
	p := pruning{store: s, before: time.UnixMilli(before.UnixMilli())}
	if err := p.start(ctx); err != nil {
		return 0, err
	}
	defer p.logKept()
	for {
		found, groups, err := p.nextGroups(ctx)
		if err != nil || found == 0 {
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

	undelivered map[string]undelivered // by platform, at the start
	keptFor     map[string]bool        // by destination

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

func (p *pruning) nextGroups(ctx context.Context) (found int, groups []*pruneGroup, err error) {
	const maxFound = 10
	err = p.store.writeTransaction(ctx, func(tx pgx.Tx) error {
		next, open := p.last, make(map[string]*pruneGroup)
		found, groups = 0, nil
		rows, err := tx.Query(ctx, p.store.sql.oldEvents, p.before, next.received, next.platform, next.seq, maxFound*p.store.pruneBatch)
		if err != nil {
			return err
		}
		var id string
		_, err = pgx.ForEachRow(rows, []any{&next.platform, &next.seq, &id, &next.received}, func() error {
			found++
			if u, ok := p.undelivered[next.platform]; ok && next.seq >= u.seq {
				p.keptFor[u.destination] = true
				return nil
			}
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
	return found, groups, err
}

// delete first locks the platform: no request may return one of the events meanwhile.
func (p *pruning) delete(ctx context.Context, g *pruneGroup) (n int64, err error) {
	sql := p.store.sql
	err = p.store.writeTransaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql.lockForPrune, g.platform); err != nil {
			return err
		}
		requests, err := p.oldRequests(ctx, tx, g)
		if err != nil {
			return err
		}
		ids := slices.Clone(g.ids)
		for _, r := range requests {
			ids = append(ids, r.eventIDs...)
		}
		undelivered, err := p.findUndelivered(ctx, tx, g.platform, ids)
		if err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, undelivered)
		var keys []string
		for _, r := range requests {
			if !slices.ContainsFunc(r.eventIDs, undelivered) {
				keys = append(keys, r.key)
			}
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

type oldRequest struct {
	key      string
	eventIDs []string
}

func (p *pruning) oldRequests(ctx context.Context, tx pgx.Tx, g *pruneGroup) ([]oldRequest, error) {
	rows, err := tx.Query(ctx, p.store.sql.oldRequests, g.platform, g.ids, p.before)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r oldRequest, err error) {
		err = row.Scan(&r.key, &r.eventIDs)
		return r, err
	})
}
