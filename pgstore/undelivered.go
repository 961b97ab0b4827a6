package pgstore

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// undelivered is the least position of a platform's streams.
type undelivered struct {
	seq         int64
	destination string
}

func (p *pruning) start(ctx context.Context) error {
	p.last.received = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	return p.store.writeTransaction(ctx, func(tx pgx.Tx) error {
		sql := p.store.sql
		if err := checkPrivileges(tx.QueryRow(ctx, sql.missingForPrune)); err != nil {
			return err
		}
		p.undelivered, p.keptFor = make(map[string]undelivered), make(map[string]bool)
		rows, err := tx.Query(ctx, sql.relay.allStreams)
		if err != nil {
			return err
		}
		var platform string
		var u undelivered
		_, err = pgx.ForEachRow(rows, []any{&platform, &u.destination, &u.seq}, func() error {
			if least, ok := p.undelivered[platform]; !ok || u.seq < least.seq {
				p.undelivered[platform] = u
			}
			return nil
		})
		return err
	})
}

func (p *pruning) findUndelivered(ctx context.Context, tx pgx.Tx, platform string, ids []string) (contains func(string) bool, err error) {
	found := make(map[string]bool)
	contains = func(id string) bool { return found[id] }
	streams, err := tx.Exec(ctx, p.store.sql.relay.lockStreams, platform)
	if err != nil || streams.RowsAffected() == 0 {
		return contains, err
	}
	rows, err := tx.Query(ctx, p.store.sql.relay.undelivered, platform, ids)
	if err != nil {
		return nil, err
	}
	var id, destination string
	_, err = pgx.ForEachRow(rows, []any{&id, &destination}, func() error {
		found[id], p.keptFor[destination] = true, true
		return nil
	})
	return contains, err
}

func (p *pruning) logKept() {
	if len(p.keptFor) == 0 {
		return
	}
	var names []string
	for _, escaped := range slices.Sorted(maps.Keys(p.keptFor)) {
		names = append(names, unescapeName(escaped))
	}
	log(p.store.options.Logger, slog.LevelWarn, "pgstore: events were kept because a relay has not delivered them", nil,
		slog.Any("destinations", names))
}
