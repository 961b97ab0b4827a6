// Package pgstore stores charge events in PostgreSQL. Many processes can share a database.
//
//	pool, err := pgxpool.New(ctx, "postgres://…")
//	store, err := pgstore.New(ctx, pool, pgstore.Options{})
//
// The caller owns the pool and closes it after the store.
//
// # Durability
//
// Append returns after the server has committed. How durable events are depends on
// synchronous_commit and, if they must survive the loss of a machine, on
// synchronous_standby_names.
//
// # Failures
//
// Append returns chargeingest.ErrNotStored if
//
//   - the server is read-only or shutting down, or no connection can be made;
//   - the connection is lost before the commit was sent, or the server reports that it
//     ended the session before the commit;
//   - another session has locked the platform for longer than Options.StatementTimeout.
//
// If the connection is lost otherwise, Append returns chargeingest.ErrOutcomeUnknown. The store
// then reconnects and resets the pool.
//
// # Connections
//
// The writer has its own connection, besides the pool. Reads need the primary: a lagging
// standby rejects cursors. docs/postgres.md describes the settings of pool and server.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
	"example.com/chargeingest/storekit"
)

var (
	_ chargeingest.EventStore    = (*Store)(nil)
	_ chargeingest.EventReader   = (*Store)(nil)
	_ chargeingest.ReadyChecker  = (*Store)(nil)
	_ chargeingest.StatsReporter = (*Store)(nil)
	_ io.Closer                  = (*Store)(nil)
)

var (
	// ErrSchemaTooNew is returned if a newer version of this package created the tables.
	ErrSchemaTooNew = errors.New("charge event tables were created by a newer version")

	// ErrNotDurable is returned if a crash of the server can lose acknowledged events:
	// synchronous_commit or fsync is off.
	ErrNotDurable = errors.New("the server is not durable")
)

// Store is a [chargeingest.EventStore] in PostgreSQL. It is safe for concurrent use.
type Store struct {
	options      Options
	pool         *pgxpool.Pool
	sql          *statements
	resetPool    func()
	writer       *writer
	reads, scans *limits.Gate
	journal      *limits.Gate
	pruneBatch   int
	size         tableSize

	mu      sync.Mutex
	closed  bool
	reading sync.WaitGroup
	once    sync.Once
}

// New creates or migrates the tables if needed. Processes of the previous version continue to
// store. A migration waits, until ctx ends, for transactions that have read the tables, such as
// a dump. The error may wrap [ErrSchemaTooNew] or [ErrNotDurable].
func New(ctx context.Context, pool *pgxpool.Pool, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	connections := int(pool.Config().MaxConns)
	s := &Store{
		options: o, pool: pool, sql: newStatements(quoted(o.Schema)), resetPool: poolResetter(pool),
		reads: limits.NewGate(connections - 1), scans: limits.NewGate(connections / 2), journal: limits.NewGate(connections / 2),
		pruneBatch: pruneBatch,
	}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if err := checkServer(ctx, conn.Conn(), s.options); err != nil {
		return err
	}
	m := migrator{schema: s.options.Schema, logger: s.options.Logger, lockConn: conn.Conn(), dial: func(ctx context.Context) (*pgx.Conn, error) {
		cfg := s.pool.Config()
		ContainPanics(cfg, s.options.Logger)
		return dial(ctx, cfg)
	}}
	if err := m.run(ctx); err != nil {
		return fmt.Errorf("migrate the tables: %w", err)
	}
	if err := checkPrivileges(conn.QueryRow(ctx, s.sql.missingPrivileges)); err != nil {
		return err
	}
	var newest string
	if err := conn.QueryRow(ctx, s.sql.newestID).Scan(&newest); err != nil {
		return fmt.Errorf("find the newest id: %w", err)
	}
	if s.writer, err = newWriter(s, newest); err != nil {
		return err
	}
	go s.writer.run()
	return nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// Append implements [chargeingest.EventStore]. Ids of several processes follow storage order
// only as far as their clocks agree.
func (s *Store) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	b.Platform = escapeName(b.Platform)
	return storekit.Append(ctx, b, func(a storekit.Attempt) (chargeingest.AppendResult, error) {
		return s.writer.queue.Append(ctx, a)
	})
}

// Ready implements [chargeingest.ReadyChecker]: the server must be writable, and the role must
// have the privileges to store.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.beginRead(ctx); err != nil {
		return err
	}
	defer s.reading.Done()
	return s.query(ctx, s.checkWritable)
}

// Stats implements [chargeingest.StatsReporter].
func (s *Store) Stats() chargeingest.StoreStats {
	now := s.writer.queue.Stats()
	now.NewestEvent = s.writer.ids.LastTime()
	now.DatabaseBytes = s.databaseBytes()
	return now
}

// Close stores queued events, ends Prune and waits for reads. Later calls return
// chargeingest.ErrClosed. The pool stays open.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.writer.queue.Close()
		<-s.writer.stopped
		s.reading.Wait()
	})
	return nil
}
