package pgstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is the advisory lock under which one process migrates while
// others wait.
const migrationLock = 0x63686172676530 // "charge0"

// migrate brings the tables up to date, in one transaction.
func migrate(ctx context.Context, conn *pgx.Conn, schema string) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	// Under another level what another process has made while this one waited
	// for the lock would not be seen.
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return fmt.Errorf("wait for the migration of another process: %w", err)
		}
		version, err := currentVersion(ctx, tx, schema)
		if err != nil {
			return fmt.Errorf("read the version of the tables: %w", err)
		}
		if version > len(files) {
			return fmt.Errorf("%w: they have version %d, this is for %d", ErrNewer, version, len(files))
		}
		for i := version; i < len(files); i++ {
			text, err := migrations.ReadFile(files[i])
			if err != nil {
				return err
			}
			if err := apply(ctx, tx, schema, i+1, string(text)); err != nil {
				return fmt.Errorf("migrate to version %d: %w", i+1, err)
			}
		}
		return nil
	})
}

// currentVersion is that of the tables, 0 where there are none. It writes nothing
// where there are some, so that a role without the right to make tables can use
// what another one has made.
func currentVersion(ctx context.Context, tx pgx.Tx, schema string) (version int, err error) {
	var there bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = 'migrations')`, schema).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	err = tx.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+quoted(schema)+".migrations").Scan(&version)
	return version, err
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

func apply(ctx context.Context, tx pgx.Tx, schema string, version int, text string) error {
	if version == 1 {
		text = "CREATE TABLE migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());\n" + text
		if err := makeSchema(ctx, tx, schema); err != nil {
			return err
		}
	}
	// The files name no schema. Several statements at once need the simple
	// protocol, which has no parameters.
	if _, err := tx.Exec(ctx, "SELECT set_config('search_path', $1, true)", quoted(schema)); err != nil {
		return err
	}
	if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "INSERT INTO "+quoted(schema)+".migrations (version) VALUES ($1)", version)
	return err
}
