package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/internal/panics"
)

func (s *Store) beginRead(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chargeingest.ErrClosed
	}
	s.reading.Add(1)
	return nil
}

// enterGates waits for the platform's turn to use a connection.
func (s *Store) enterGates(ctx context.Context, platform string, scan bool) (leave func(), err error) {
	if !scan {
		return s.enter(ctx, s.reads, platform, s.options.AcquireTimeout, chargeingest.ErrOverloaded)
	}
	endScan, err := s.enter(ctx, s.scans, platform, s.options.ScanTimeout, chargeingest.ErrScanLimit)
	if err != nil {
		return nil, err
	}
	endRead, err := s.enter(ctx, s.reads, platform, s.options.AcquireTimeout, chargeingest.ErrOverloaded)
	if err != nil {
		endScan()
		return nil, err
	}
	return func() { endRead(); endScan() }, nil
}

func (s *Store) enter(ctx context.Context, g *limits.Gate, platform string, timeout time.Duration, timeoutErr error) (func(), error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	leave, err := g.Enter(limited, platform)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("pgstore: %w: the platform waited for its turn for %v", timeoutErr, timeout)
	}
	return leave, err
}

func (s *Store) read(ctx context.Context, platform string, scan bool, f func(context.Context, pgx.Tx) error) error {
	if err := s.beginRead(ctx); err != nil {
		return err
	}
	defer s.reading.Done()
	leave, err := s.enterGates(ctx, platform, scan)
	if err != nil {
		return err
	}
	defer leave()
	return s.query(ctx, f)
}

// query runs f in a transaction, again if a plan is outdated.
func (s *Store) query(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	conn, err := acquire(ctx, s.pool, s.options.AcquireTimeout)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("pgstore: %w", err)
	}
	defer func() {
		if err := release(conn); err != nil {
			log(s.options.Logger, slog.LevelError, "pgstore: a connection was not released", err)
		}
	}()
	// The server ends slow statements. The client waits a second longer.
	limited, cancel := context.WithTimeout(ctx, s.options.ScanTimeout+time.Second)
	defer cancel()
	for n := 0; ; n++ {
		err = s.transact(limited, conn, f)
		if codeOf(err) != codeNotSupported || n == maxReplans {
			break
		}
	}
	if errors.Is(err, errReadOnly) {
		s.resetPool()
	}
	switch {
	case err == nil, errors.Is(err, chargeingest.ErrNotFound), errors.Is(err, chargeingest.ErrInvalidCursor):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case codeOf(err) == codeQueryCanceled, limited.Err() != nil:
		return fmt.Errorf("pgstore: %w: it took more than %v", chargeingest.ErrScanLimit, s.options.ScanTimeout)
	}
	return fmt.Errorf("pgstore: read: %w", err)
}

// transact sets the timeouts before f, so that they include preparing.
func (s *Store) transact(ctx context.Context, conn *pgxpool.Conn, f func(context.Context, pgx.Tx) error) (err error) {
	defer panics.RecoverTo(&err)
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		set := new(pgx.Batch)
		set.Queue(s.sql.timeouts, milliseconds(s.options.ScanTimeout), milliseconds(s.options.ScanTimeout))
		set.Queue(s.sql.customPlans)
		if err := tx.SendBatch(ctx, set).Close(); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// Get implements [chargeingest.EventReader].
func (s *Store) Get(ctx context.Context, platform, id string) (e chargeingest.StoredEvent, err error) {
	if !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return e, chargeingest.ErrNotFound // not a text of the database
	}
	platform = escapeName(platform)
	err = s.read(ctx, platform, false, func(ctx context.Context, tx pgx.Tx) error {
		e, err = scanEvent(tx.QueryRow(ctx, s.sql.get, platform, id))
		if errors.Is(err, pgx.ErrNoRows) {
			return chargeingest.ErrNotFound
		}
		return err
	})
	return e, err
}
