package pgstore

import (
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// missedStandby is a key of a connection's custom data, set after a commit that did not
// wait for a standby.
const missedStandby = "example.com/chargeingest/pgstore: missed standby"

var errNotReplicated = errors.New("the wait for a standby was canceled: the commit is on this server alone")

// WatchStandby makes the connections of a pool report commits whose wait for a
// synchronous standby was canceled, for example by pg_cancel_backend or the timeout of a
// proxy. For these, Append then returns chargeingest.ErrOutcomeUnknown. Without it such
// events are acknowledged, because the server reports success and a warning. Call it
// before the pool is made.
func WatchStandby(cfg *pgxpool.Config) {
	hostHandler := cfg.ConnConfig.OnNotice
	cfg.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == "SyncRepWaitForLSN" {
			conn.CustomData()[missedStandby] = true
		}
		if hostHandler != nil {
			contain(func(err error) { log(slog.Default(), slog.LevelError, "pgstore: the notice handler failed", err) }, func() { hostHandler(conn, n) })
		}
	}
}

// takeMissedStandby reports and resets missedStandby.
func takeMissedStandby(conn *pgx.Conn) bool {
	data := conn.PgConn().CustomData()
	_, missed := data[missedStandby]
	delete(data, missedStandby)
	return missed
}
