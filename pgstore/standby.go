package pgstore

import (
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// gaveUp is where a connection keeps that a commit has not waited to its end.
const gaveUp = "example.com/chargeingest/pgstore: gave up"

// errNotReplicated says that a commit is on the disk of this server alone.
var errNotReplicated = errors.New("the wait for a standby was given up: the commit is on this server alone")

// WatchStandby makes the connections of a pool tell the store of a commit whose
// wait for a synchronous standby was given up, by pg_cancel_backend or the
// time-out of a proxy: the server calls that a success, and warns. With it that is an
// error that means unknown; without it such events are acknowledged though no
// standby has them. It is for the host to call before the pool is made.
func WatchStandby(cfg *pgxpool.Config) {
	before := cfg.ConnConfig.OnNotice
	cfg.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == "SyncRepWaitForLSN" {
			conn.CustomData()[gaveUp] = true
		}
		if before != nil {
			contain(func(err error) { log(slog.Default(), slog.LevelError, "pgstore: the handler of notices failed", err) }, func() { before(conn, n) })
		}
	}
}

// gaveUpStandby says whether the last commit did, once.
func gaveUpStandby(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	_, did := data[gaveUp]
	delete(data, gaveUp)
	return did
}
