package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
)

// transaction stores one group.
type transaction struct {
	conn     *pgx.Conn
	session  *session
	sql      *statements
	timeout  time.Duration
	lockWait time.Duration // for the lock of a platform
	durable  bool          // whatever the session says
}

// fast stores a group of which nothing is known: all of it in one round trip,
// the commit with it. Where something is known after all the server refuses it
// with a duplicate, and nothing is stored.
func (t *transaction) fast(ctx context.Context, requests []*groupcommit.Request, nextID nextID) (*group, error) {
	g, err := decide(ctx, requests, &known{}, nextID, t.decideBy())
	if err != nil {
		return nil, err
	}
	if g.refused {
		// A batch contradicts itself, or what a request before it stores. It may
		// have been stored itself, and then be a replay.
		return t.careful(ctx, requests, nextID)
	}
	b := t.begin()
	n := b.Len()
	g.insert(b, t.sql)
	b.Queue(t.sql.commit)
	return g, t.sendAfter(ctx, b, n, true)
}

// careful locks the platforms of a group, looks up what is known, and then
// stores the rest: two round trips.
func (t *transaction) careful(ctx context.Context, requests []*groupcommit.Request, nextID nextID) (g *group, err error) {
	committing := false
	defer func() {
		if err == nil || committing {
			return
		}
		if t.rollback(ctx); t.conn.IsClosed() {
			err = goneError{err} // without a commit nothing was stored
		}
	}()
	k := &known{conn: t.conn, sql: t.sql}
	b := t.begin()
	b.Queue(t.sql.plans)
	n := b.Len()
	k.lookUp(b, requests)
	if err := t.sendAfter(ctx, b, n, false); err != nil {
		return nil, err
	}
	if g, err = decide(ctx, requests, k, nextID, t.decideBy()); err != nil {
		return nil, err
	}
	b = new(pgx.Batch)
	if g.rows.len() > 0 || g.keys.len() > 0 {
		g.insert(b, t.sql)
	}
	b.Queue(t.sql.commit)
	committing = true
	return g, t.send(ctx, b, true)
}

// decideBy is when a group has to be decided, for others wait for the lock meanwhile.
func (t *transaction) decideBy() time.Time { return time.Now().Add(t.timeout / 5) }

// begin begins a transaction in a batch.
func (t *transaction) begin() *pgx.Batch {
	b := new(pgx.Batch)
	b.Queue(t.sql.begin)
	b.Queue(t.sql.timeouts, milliseconds(t.timeout), milliseconds(t.lockWait))
	if t.durable {
		b.Queue(t.sql.durable)
	}
	return b
}

// milliseconds is a time-out as the server is told it; 0 would be none.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// errRolledBack says that the server answered a commit with a rollback.
var errRolledBack = errors.New("the transaction was undone before its commit")

// sendAfter sends a batch whose first n statements begin the transaction. Preparing a
// statement waits for the locks of its tables, so if pgx would prepare any, the
// transaction and with it the timeouts begin first.
func (t *transaction) sendAfter(ctx context.Context, b *pgx.Batch, n int, commits bool) error {
	if !t.conn.IsClosed() && !t.session.isPrepared(b) {
		first := &pgx.Batch{QueuedQueries: b.QueuedQueries[:n:n]}
		if err := t.send(ctx, first, false); err != nil {
			return err
		}
		b = &pgx.Batch{QueuedQueries: b.QueuedQueries[n:]}
	}
	return t.send(ctx, b, commits)
}

// send sends a batch, which ends with the commit or has none. Where it has one,
// the error is an unknownError unless the server says that it was undone.
func (t *transaction) send(ctx context.Context, b *pgx.Batch, commits bool) (failure error) {
	if t.conn.IsClosed() {
		return goneError{pgconn.ErrConnClosed}
	}
	defer func() {
		if commits && errors.As(failure, new(panics.Error)) {
			failure = unknownError{failure}
		}
	}()
	defer func() { t.session.setPrepared(b, failure == nil) }()
	defer panics.RecoverTo(&failure)
	gaveUpStandby(t.conn) // a commit of the host's does not count
	results := t.conn.SendBatch(ctx, b)
	var err error
	inCommit := commits
	for i, q := range b.QueuedQueries {
		inCommit = commits && i == len(b.QueuedQueries)-1
		if q.Fn != nil {
			err = q.Fn(results)
		} else {
			tag, failure := results.Exec()
			if err = failure; err == nil && inCommit && tag.String() != "COMMIT" {
				err = errRolledBack
			}
		}
		if err != nil {
			break
		}
	}
	closed := results.Close()
	if err == nil {
		err = closed
	}
	if replicated := !gaveUpStandby(t.conn); err == nil && commits && !replicated {
		err = errNotReplicated
	}
	switch {
	case err == nil:
		return nil
	case isUndone(err, inCommit):
		t.rollback(ctx)
	case isGone(err, inCommit):
		return goneError{err}
	case commits && !errors.Is(err, errRolledBack):
		return unknownError{err}
	}
	return fmt.Errorf("undone: %w", err)
}

// rollback leaves the connection as it was. One that cannot be is of no use.
func (t *transaction) rollback(ctx context.Context) {
	if t.conn.IsClosed() || t.conn.PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Close(ctx)
	}
}
