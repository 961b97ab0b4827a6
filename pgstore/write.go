package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
)

const maxWriteAttempts = 5

// writeTransaction runs f in a durable transaction, and again if another session caused a
// rollback.
func (s *Store) writeTransaction(ctx context.Context, f func(pgx.Tx) error) error {
	for n := 1; ; n++ {
		err := s.tryTransaction(ctx, f)
		code := codeOf(err)
		if code == codeReadOnly {
			s.resetPool()
		}
		again := isTransient(err) || code == codeLockNotAvailable || code == codeNotSupported
		if !again || n == maxWriteAttempts || !pause(ctx, n) {
			return err
		}
	}
}

func (s *Store) tryTransaction(ctx context.Context, f func(pgx.Tx) error) (err error) {
	if s.isClosed() {
		return chargeingest.ErrClosed
	}
	conn, err := acquire(ctx, s.pool, s.options.AcquireTimeout)
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer func() { err = errors.Join(err, release(conn)) }()
	defer panics.RecoverTo(&err)
	takeMissedStandby(conn.Conn()) // of another user of the pool
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		set := new(pgx.Batch)
		set.Queue(s.sql.timeouts, milliseconds(s.options.StatementTimeout), milliseconds(s.options.StatementTimeout/lockShare))
		set.Queue(s.sql.indexPlans)
		if !s.options.AllowNonDurable {
			set.Queue(s.sql.forceDurable)
		}
		if err := tx.SendBatch(ctx, set).Close(); err != nil {
			return err
		}
		return f(tx)
	})
	if missed := takeMissedStandby(conn.Conn()); err == nil && missed {
		err = errNotReplicated
	}
	return err
}
