package pgstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// noConnection wraps the text of an error, but not the error: its code must not be taken
// for that of a statement.
func noConnection(err error) error { return errors.New("no connection: " + err.Error()) }

// acquire returns a connection of the pool. The pool's hooks may panic.
func acquire(ctx context.Context, pool *pgxpool.Pool, timeout time.Duration) (conn *pgxpool.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	func() {
		defer panics.RecoverTo(&err)
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

// resetInterval is the minimum between two resets of a pool, which the host uses, too.
const resetInterval = 100 * time.Millisecond

// poolResetter returns a function that resets the pool after one of its connections led
// to a read-only server: the others most likely lead to the same server.
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
