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

type transaction struct {
	conn         *pgx.Conn
	session      *session
	sql          *statements
	timeout      time.Duration
	lockWait     time.Duration // for a platform
	forceDurable bool
}

// storeOptimistically takes one round trip: duplicates cause a unique violation.
func (t *transaction) storeOptimistically(ctx context.Context, group []*groupcommit.Request, next nextID) (*decidedGroup, error) {
	g, err := decide(ctx, group, &lookup{}, next, t.decisionDeadline())
	if err != nil {
		return nil, err
	}
	if g.rejections {
		// It may be a replay of a stored event.
		return t.storeAfterLookup(ctx, group, next)
	}
	b := t.begin()
	n := b.Len()
	g.insert(b, t.sql)
	b.Queue(t.sql.commit)
	return g, t.sendWithTimeouts(ctx, b, n, true)
}

// storeAfterLookup looks up duplicates first: two round trips.
func (t *transaction) storeAfterLookup(ctx context.Context, group []*groupcommit.Request, next nextID) (g *decidedGroup, err error) {
	committing := false
	defer func() {
		if err == nil || committing {
			return
		}
		if t.rollback(ctx); t.conn.IsClosed() {
			err = sessionEndedError{err} // nothing was stored
		}
	}()
	l := &lookup{conn: t.conn, sql: t.sql}
	b := t.begin()
	b.Queue(t.sql.customPlans)
	n := b.Len()
	l.queueLookups(b, group)
	if err := t.sendWithTimeouts(ctx, b, n, false); err != nil {
		return nil, err
	}
	if g, err = decide(ctx, group, l, next, t.decisionDeadline()); err != nil {
		return nil, err
	}
	b = new(pgx.Batch)
	if g.events.len() > 0 || g.records.len() > 0 {
		g.insert(b, t.sql)
	}
	b.Queue(t.sql.commit)
	committing = true
	return g, t.send(ctx, b, true)
}

// decisionDeadline is early: other processes wait for the locks.
func (t *transaction) decisionDeadline() time.Time { return time.Now().Add(t.timeout / 5) }

func (t *transaction) begin() *pgx.Batch {
	b := new(pgx.Batch)
	b.Queue(t.sql.begin)
	b.Queue(t.sql.timeouts, milliseconds(t.timeout), milliseconds(t.lockWait))
	if t.forceDurable {
		b.Queue(t.sql.forceDurable)
	}
	return b
}

// 0 would mean no timeout.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}

// errRolledBack means that the response to COMMIT was ROLLBACK.
var errRolledBack = errors.New("the transaction was rolled back before its commit")

// sendWithTimeouts sends a batch whose first n statements set the timeouts. If pgx would
// prepare any statement, which can wait for a locked table, it sends those first.
func (t *transaction) sendWithTimeouts(ctx context.Context, b *pgx.Batch, n int, commits bool) error {
	if !t.conn.IsClosed() && !t.session.isPrepared(b) {
		first := &pgx.Batch{QueuedQueries: b.QueuedQueries[:n:n]}
		if err := t.send(ctx, first, false); err != nil {
			return err
		}
		b = &pgx.Batch{QueuedQueries: b.QueuedQueries[n:]}
	}
	return t.send(ctx, b, commits)
}

// send sends a batch. If commits is set, the batch ends with COMMIT, and the error is an
// ErrOutcomeUnknown unless certainly nothing was committed.
func (t *transaction) send(ctx context.Context, b *pgx.Batch, commits bool) (failure error) {
	if t.conn.IsClosed() {
		return sessionEndedError{pgconn.ErrConnClosed}
	}
	defer func() {
		if commits && errors.As(failure, new(panics.Error)) {
			failure = groupcommit.OutcomeUnknown(failure)
		}
	}()
	defer func() { t.session.setPrepared(b, failure == nil) }()
	defer panics.RecoverTo(&failure)
	takeMissedStandby(t.conn) // from a hook
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
	closeErr := results.Close()
	if err == nil {
		err = closeErr
	}
	if missed := takeMissedStandby(t.conn); err == nil && commits && missed {
		err = errNotReplicated
	}
	switch {
	case err == nil:
		return nil
	case isRolledBack(err, inCommit):
		t.rollback(ctx)
	case isSessionEnded(err, inCommit):
		return sessionEndedError{err}
	case commits && !errors.Is(err, errRolledBack):
		return groupcommit.OutcomeUnknown(err)
	}
	return fmt.Errorf("rolled back: %w", err)
}

func (t *transaction) rollback(ctx context.Context) {
	if t.conn.IsClosed() || t.conn.PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := t.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Close(ctx)
	}
}
