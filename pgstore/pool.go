package pgstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// noConnection hides the code of err from checks for that of a statement.
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

// poolResetter returns a function to call after a connection has led to a broken server: others
// most likely do, too. Resets are limited, because the application uses the pool.
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
