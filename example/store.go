package main

import (
	"context"
	"io"
	"log/slog"

	"modernc.org/sqlite"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

type store interface {
	chargeingest.EventStore
	chargeingest.EventReader
	chargeingest.ReadyChecker
	io.Closer
}

type storeOptions struct {
	logger   *slog.Logger
	observer func(chargeingest.CommitStats)
}

func openStore(ctx context.Context, db string, o storeOptions) (store, error) {
	switch {
	case db == inMemory:
		o.logger.Warn("events are kept in memory and are lost when the server ends")
		return memstore.New(), nil
	case isPostgres(db):
		return openPostgres(ctx, db, o)
	}
	_, _ = sqlite.Fdatasync(true) // not on macOS and Windows
	s, err := sqlitestore.OpenWith(ctx, db, sqlitestore.Options{Logger: o.logger, Observer: o.observer})
	if err != nil {
		return nil, err
	}
	return s, nil
}
