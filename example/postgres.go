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

// keywords is how a connection string that is no URL begins: host=db dbname=charges.
var keywords = regexp.MustCompile(`^\s*[a-z_]+\s*=`)

// isPostgres says that -db names a database of a PostgreSQL server.
func isPostgres(db string) bool {
	return strings.HasPrefix(db, "postgres://") || strings.HasPrefix(db, "postgresql://") || keywords.MatchString(db)
}

// database takes the value of -db.
func database(dst *string) func(string) error {
	return func(value string) error {
		*dst = value
		pathErr := userpath.Check(value)
		isURL := strings.Contains(value, "://")
		if !isPostgres(value) && (pathErr == nil || !isURL) {
			return pathErr
		}
		if isURL && pathErr != nil {
			// The value may hold a password: it is not repeated.
			return errors.New("must not have control characters such as a line break")
		}
		if _, err := pgxpool.ParseConfig(value); err != nil {
			// The value may hold a password: neither it nor what is wrong is repeated.
			return errors.New("must be a PostgreSQL URL such as postgres://user@host:5432/name, or keywords and values such as host=db user=charges dbname=charges; a file of such a name is ./name")
		}
		return nil
	}
}

// postgres is a store and its pool.
type postgres struct {
	*pgstore.Store
	pool *pgxpool.Pool
}

// connectTimeout bounds the making of a connection where -db does not.
const connectTimeout = 5 * time.Second

func openPostgres(ctx context.Context, address string, o storeOptions) (store, error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, errors.New("the address of the PostgreSQL database cannot be used")
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	pgstore.WatchStandby(cfg)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, errors.New("the address of the PostgreSQL database cannot be used")
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
