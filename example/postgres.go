package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/userpath"
	"example.com/chargeingest/pgstore"
)

var keywordValue = regexp.MustCompile(`^\s*[a-z_]+\s*=`)

func isPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://") || keywordValue.MatchString(db)
}

// database hides the connection string, which may contain a password, from errors.
func database(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		pathErr := userpath.Check(value)
		isURL := strings.Contains(value, "://")
		if !isPostgres(value) && (pathErr == nil || !isURL) {
			return pathErr
		}
		if isURL && pathErr != nil {
			return errors.New("must not have control characters such as a line break")
		}
		if _, err := pgxpool.ParseConfig(value); err != nil {
			return errors.New("must be a PostgreSQL URL such as postgres://user@host:5432/name, or keywords and values such as host=db user=charges dbname=charges; for a file with such a name, write ./name")
		}
		return nil
	}
}

type postgres struct {
	*pgstore.Store
	pool *pgxpool.Pool
}

// connectTimeout applies if -db does not set one.
const connectTimeout = 5 * time.Second

func openPostgres(ctx context.Context, address string, o storeOptions) (store, error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New("invalid PostgreSQL connection string")
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	pgstore.WatchStandby(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, errors.New("invalid PostgreSQL connection string")
	}
	s, err := pgstore.New(ctx, pool, pgstore.Options{Logger: o.logger, Observer: o.observer})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return postgres{s, pool}, nil
}

func (p postgres) Close() error {
	err := p.Store.Close()
	p.pool.Close()
	return err
}
