package pgstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest/internal/panics"
)

// acquire takes a connection to read with from a pool. Why there is none is nothing that a
// statement has caused, so that its error unwraps to nothing. What the host has added
// to its pool may panic.
func acquire(ctx context.Context, pool *pgxpool.Pool, limit time.Duration) (conn *pgxpool.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	func() {
		defer panics.RecoverTo(&err)
		conn, err = pool.Acquire(ctx)
	}()
	if err != nil {
		return nil, errors.New("no connection: " + err.Error())
	}
	return conn, nil
}

// release gives a connection back.
func release(conn *pgxpool.Conn) (err error) {
	defer panics.RecoverTo(&err)
	conn.Release()
	return nil
}

// resetPause is how much apart the resets of a pool are: its host uses it, too.
const resetPause = 100 * time.Millisecond

// resetter returns what resets a pool when one of its connections leads to a server
// that takes no writes: the others most likely lead there, too.
func resetter(pool *pgxpool.Pool) func() {
	var mu sync.Mutex
	var last time.Time
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= resetPause {
			last = now
			pool.Reset()
		}
	}
}
