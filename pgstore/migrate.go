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

// migrationLock is the advisory lock under which one process migrates while
// others wait.
const migrationLock = 0x63686172676530 // "charge0"

// A migration leaves the tables usable by processes of the version before it, which go
// on storing while it runs. The file NNNN_name.sql of a version is one transaction, for
// statements that need the exclusive lock of a table for a moment only: such as
// ALTER TABLE … ADD COLUMN … NULL. What takes longer is in indexChanges.

// indexChange builds and drops indexes, before the file of its version.
type indexChange struct {
	build []index
	drop  []string // also the indexes of partitions that belong to them
}

var indexChanges = map[int]indexChange{
	// An index that begins with the platform can be taken for a way to everything that is
	// found by platform and sequence, and then leads past all events of the platform.
	2: {
		build: []index{{name: "events_by_id", table: "events", columns: "(id)"}},
		drop:  []string{"events_id", "events_platform_id_idx"},
	},
}

// Waiting for the exclusive lock of a table holds up everybody who comes later, so it
// is short and tried again.
const (
	tableLockWait  = 100 * time.Millisecond
	migrationPause = 300 * time.Millisecond // doubled with each try
	longestPause   = 3 * time.Second
)

// errBusy says that another process migrates.
var errBusy = errors.New("another process migrates the tables")

// migrator brings the tables up to date.
type migrator struct {
	schema string
	logger *slog.Logger
	guard  *pgx.Conn                                // holds the advisory lock
	dial   func(context.Context) (*pgx.Conn, error) // a connection to work on
}

// run migrates until the tables are up to date, for as long as the context lasts.
func (m *migrator) run(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var told bool
	for n := 0; ; n++ {
		err := m.try(ctx, files)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("not done in time, which a long transaction of another session can be the reason for: %w", err)
		case !isBusy(err):
			return err
		}
		if !told {
			told = true
			log(m.logger, slog.LevelWarn, "pgstore: the migration waits for another session, such as a dump", err)
		}
		wait := min(migrationPause<<min(n, 10), longestPause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for another session: %w", ctx.Err(), err)
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // only to be another time than others'
		}
	}
}

// isBusy reports whether a migration can be tried again.
func isBusy(err error) bool {
	code := codeOf(err)
	return errors.Is(err, errBusy) || code == codeLockNotAvailable || isTransient(err)
}

// try migrates under the advisory lock. It does not wait for the lock: that would take
// a snapshot, which CREATE INDEX CONCURRENTLY of the process that has it waits for.
func (m *migrator) try(ctx context.Context, files []string) error {
	version, err := m.version(ctx, m.guard)
	if err != nil || version == len(files) {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("%w: they have version %d, this is for %d", ErrSchemaTooNew, version, len(files))
	}
	// A transaction of this level has no snapshot between its statements.
	return pgx.BeginTxFunc(ctx, m.guard, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		var locked bool
		_, err := tx.Exec(ctx, "SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
		if err == nil {
			err = tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)", int64(migrationLock)).Scan(&locked)
		}
		if err == nil && !locked {
			err = errBusy
		}
		if err != nil {
			return fmt.Errorf("wait for the migration of another process: %w", err)
		}
		version, err := m.version(ctx, m.guard) // it may have ended meanwhile
		if err == nil {
			// The portal of the last query keeps its snapshot until a simple query.
			err = execSimple(ctx, m.guard, "SELECT 1")
		}
		if err != nil {
			return err
		}
		return m.migrateFrom(ctx, version, files)
	})
}

// migrateFrom applies the migrations after a version, on a connection of their own.
func (m *migrator) migrateFrom(ctx context.Context, version int, files []string) (err error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // everything was answered
	}()
	for i := version; i < len(files); i++ {
		text, err := migrations.ReadFile(files[i])
		if err != nil {
			return err
		}
		change := indexChanges[i+1]
		err = change.apply(ctx, conn, m.schema)
		if err == nil {
			err = m.apply(ctx, conn, i+1, string(text))
		}
		if err != nil {
			return fmt.Errorf("migrate to version %d: %w", i+1, err)
		}
	}
	return nil
}

// version is that of the tables, 0 if there are none. It writes nothing if there
// are some, so that a role without the right to make tables can use what another one
// has made.
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

// makeSchema makes a schema that is not there: to make one IF NOT EXISTS takes the
// right to make it also where it is.
func makeSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var there bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)", schema).Scan(&there)
	if err == nil && !there {
		_, err = tx.Exec(ctx, "CREATE SCHEMA "+quoted(schema))
	}
	if err != nil {
		return fmt.Errorf("make the schema %s: %w", schema, err)
	}
	return nil
}

// apply runs the file of a version and records it, in one transaction.
func (m *migrator) apply(ctx context.Context, conn *pgx.Conn, version int, text string) error {
	return briefly(ctx, conn, func(tx pgx.Tx) error {
		if version == 1 {
			text = "CREATE TABLE migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());\n" + text
			if err := makeSchema(ctx, tx, m.schema); err != nil {
				return err
			}
		}
		// The files name no schema. Several statements at once need the simple
		// protocol, which has no parameters.
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

// briefly runs f in a transaction that does not wait long for the lock of a table.
func briefly(ctx context.Context, conn *pgx.Conn, f func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", milliseconds(tableLockWait))
		if err != nil {
			return err
		}
		return f(tx)
	})
}

// unbounded runs a statement that cannot be in a transaction, without the timeouts of
// the session: it may take long, and holds up nobody.
func unbounded(ctx context.Context, conn *pgx.Conn, statement string) (err error) {
	for _, text := range []string{"SET statement_timeout = 0", "SET lock_timeout = 0", statement} {
		if err == nil {
			err = execSimple(ctx, conn, text)
		}
	}
	// The session may be one of a proxy, which gives it to others.
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
