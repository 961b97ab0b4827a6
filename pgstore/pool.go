package pgstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// noConnection does not wrap err, whose code must not be mistaken for that of a statement.
func noConnection(err error) error { return errors.New("no connection: " + err.Error()) }

func acquire(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration) (conn *pgxpool.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	func() {
		defer panics.RecoverTo(&err) // of a hook
		conn, err = pool.Acquire(ctx)
	}()
	if err != nil {
		return nil, noConnection(err)
	}
	return conn, nil
}

func release(conn *pgxpool.Conn) (err error) {
	defer panics.RecoverTo(&err)
	conn.Release()
	return nil
}

const resetInterval = 100 * time.Millisecond

// poolResetter returns a function to call if a connection leads to a broken server: the others
// most likely do, too. The application uses the pool, so resets are limited.
func poolResetter(pool *pgxpool.Pool) func() {
	var mu sync.Mutex
	var last time.Time
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= resetInterval {
			last = now
			pool.Reset()
		}
	}
}
