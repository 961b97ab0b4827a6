package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrations embed.FS

const migrationLock = 0x63686172676530 // advisory lock "charge0"

// Processes of the previous version store during and after a migration. A file may lock a table
// only for a moment, like ADD COLUMN … NULL. Slower changes belong in indexChanges.

type indexChange struct {
	build []index
	drop  []string // with partitions
}

// An indexChange comes before the file of its version.
var indexChanges = map[int]indexChange{
	// With an index by platform and id, the planner may read all events of a platform to find
	// one by its sequence.
	2: {
		build: []index{{name: "events_by_id", table: "events", columns: "(id)"}},
		drop:  []string{"events_id", "events_platform_id_idx"},
	},
	// For Prune. A GIN index would block some requests while it merges a pending list.
	4: {build: []index{{name: "events_received_at", table: "events", columns: "(received_at)"}}},
	5: {build: []index{{name: "requests_event_ids", table: "requests", columns: "USING gin (event_ids) WITH (fastupdate = off)"}}},
}

// Short, because other sessions queue behind a wait for an exclusive lock.
const (
	tableLockWait     = 100 * time.Millisecond
	migrationPause    = 300 * time.Millisecond // doubled each time
	maxMigrationPause = 3 * time.Second
)

var errMigrating = errors.New("another process is migrating the tables")

type migrator struct {
	schema   string
	logger   *slog.Logger
	lockConn *pgx.Conn
	dial     func(context.Context) (*pgx.Conn, error)
}

func (m *migrator) run(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var logged bool
	for n := 0; ; n++ {
		done, err := m.try(ctx, files)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			continue
		case ctx.Err() != nil:
			return fmt.Errorf("not finished in time, perhaps because another session keeps a transaction open: %w", err)
		case !isBusy(err):
			return err
		}
		if !logged {
			logged = true
			log(m.logger, slog.LevelWarn, "pgstore: the migration waits for another session, such as a dump", err)
		}
		wait := min(migrationPause<<min(n, 10), maxMigrationPause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for another session: %w", ctx.Err(), err)
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // no secret
		}
	}
}

func isBusy(err error) bool {
	code := codeOf(err)
	return errors.Is(err, errMigrating) || code == codeLockNotAvailable || isTransient(err)
}

// try migrates to the next version. It does not wait for the advisory lock: CREATE INDEX
// CONCURRENTLY of its holder would wait for try's snapshot. Old versions wait for it, so it is
// held for one index at a time.
func (m *migrator) try(ctx context.Context, files []string) (done bool, err error) {
	version, err := m.version(ctx, m.lockConn)
	if err != nil || version == len(files) {
		return true, err
	}
	if version > len(files) {
		return false, fmt.Errorf("%w: the schema has version %d, this package supports up to %d", ErrSchemaTooNew, version, len(files))
	}
	// At this level there is no snapshot between statements.
	return false, pgx.BeginTxFunc(ctx, m.lockConn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var locked bool
		_, err := tx.Exec(ctx, "SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(migrationLock)).Scan(&locked)
		}
		if err == nil && !locked {
			err = errMigrating
		}
		if err != nil {
			return fmt.Errorf("wait for the migration of another process: %w", err)
		}
		version, err := m.version(ctx, m.lockConn) // perhaps migrated by another process
		if err == nil {
			// The portal of the last query keeps its snapshot until a simple query.
			err = execSimple(ctx, m.lockConn, "SELECT 1")
		}
		if err != nil || version >= len(files) {
			return err
		}
		return m.migrateTo(ctx, version+1, files[version])
	})
}

func (m *migrator) migrateTo(ctx context.Context, version int, file string) (err error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	text, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	change := indexChanges[version]
	err = change.apply(ctx, conn, m.schema)
	if err == nil {
		err = m.apply(ctx, conn, version, string(text))
	}
	if err != nil {
		return fmt.Errorf("migrate to version %d: %w", version, err)
	}
	return nil
}

func (m *migrator) version(ctx context.Context, conn *pgx.Conn) (version int, err error) {
	var exists bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = 'migrations')`, m.schema).Scan(&exists)
	if err == nil && exists {
		err = conn.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+quoted(m.schema)+".migrations").Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of the tables: %w", err)
	}
	return version, nil
}

// IF NOT EXISTS needs the privilege even if the schema exists.
func makeSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var exists bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)", schema).Scan(&exists)
	if err == nil && !exists {
		_, err = tx.Exec(ctx, "CREATE SCHEMA "+quoted(schema))
	}
	if err != nil {
		return fmt.Errorf("create the schema %s: %w", schema, err)
	}
	return nil
}

func (m *migrator) apply(ctx context.Context, conn *pgx.Conn, version int, text string) error {
	return withShortLockWait(ctx, conn, func(tx pgx.Tx) error {
		if version == 1 {
			text = "CREATE TABLE migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());\n" + text
			if err := makeSchema(ctx, tx, m.schema); err != nil {
				return err
			}
		}
		// The simple protocol allows several statements.
		if _, err := tx.Exec(ctx, "SELECT set_config('search_path', $1, true)", quoted(m.schema)); err != nil {
			return err
		}
		if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO "+quoted(m.schema)+".migrations (version) VALUES ($1)", version)
		return err
	})
}

func withShortLockWait(ctx context.Context, conn *pgx.Conn, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", milliseconds(tableLockWait))
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// withoutTimeouts is for a slow statement that cannot be in a transaction.
func withoutTimeouts(ctx context.Context, conn *pgx.Conn, statement string) (err error) {
	for _, text := range []string{"SET statement_timeout = 0", "SET lock_timeout = 0", statement} {
		if err == nil {
			err = execSimple(ctx, conn, text)
		}
	}
	// A proxy may share the session.
	if !conn.IsClosed() {
		for _, text := range []string{"RESET lock_timeout", "RESET statement_timeout"} {
			err = errors.Join(err, execSimple(ctx, conn, text))
		}
	}
	return err
}

func execSimple(ctx context.Context, conn *pgx.Conn, statement string) error {
	_, err := conn.PgConn().Exec(ctx, statement).ReadAll()
	if e := new(pgconn.PgError); errors.As(err, &e) {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return err
}
