package main

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/pgstore"
)

// isPostgres says that -db names a database of a PostgreSQL server.
func isPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://")
}

// database takes the value of -db.
func database(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		if !isPostgres(value) {
			return nil
		}
		if _, err := pgxpool.ParseConfig(value); err != nil {
			// The value may hold a password: neither it nor what is wrong is repeated.
			return errors.New("must be a PostgreSQL URL such as postgres://user@host:5432/name")
		}
		return nil
	}
}

// postgres is a store and its pool.
type postgres struct {
	*pgstore.Store
	pool *pgxpool.Pool
}

func openPostgres(ctx context.Context, url string, o storeOptions) (store, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the PostgreSQL URL cannot be used")
	}
	pgstore.WatchStandby(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, errors.New("the PostgreSQL URL cannot be used")
	}
	s, err := pgstore.New(ctx, pool, pgstore.Options{Logger: o.logger, Observer: o.observer})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return postgres{s, pool}, nil
}

// Close closes both.
func (p postgres) Close() error {
	err := p.Store.Close()
	p.pool.Close()
	return err
}
