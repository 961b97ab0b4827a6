package pgstore

import (
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// missedStandby is a key of a connection's custom data.
const missedStandby = "example.com/chargeingest/pgstore: missed standby"

var errNotReplicated = errors.New("the wait for a standby was canceled: the commit may be on this server only")

// WatchStandby makes Append return chargeingest.ErrOutcomeUnknown if the wait for a synchronous
// standby was canceled, for example by pg_cancel_backend or a proxy. Otherwise such events are
// acknowledged, because the server reports success with a warning. Call it before creating the
// pool.
func WatchStandby(cfg *pgxpool.Config) {
	nextHandler := cfg.ConnConfig.OnNotice
	cfg.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == "SyncRepWaitForLSN" {
			conn.CustomData()[missedStandby] = true
		}
		if nextHandler != nil {
			contain(func(err error) { log(slog.Default(), slog.LevelError, "pgstore: the notice handler failed", err) }, func() { nextHandler(conn, n) })
		}
	}
}

func takeMissedStandby(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	_, missed := data[missedStandby]
	delete(data, missedStandby)
	return missed
}
