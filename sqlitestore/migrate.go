package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks a database as ours (SQLite's pragma application_id): "chda".
const applicationID = 0x63686461

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the steps of the schema in their order; the version of a
// database is how many of them it has.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(names)) // Glob sorts by name
	for i, name := range names {
		if !strings.HasPrefix(filepath.Base(name), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %d is named %s", i+1, name)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps[i] = string(text)
	}
	return steps, nil
}

// claim makes sure that the file at path is ours, or is new and becomes ours.
// A file that is not stays as it is.
func claim(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		// Looking read-only changes nothing, not even a foreign file's log.
		fresh, err := inspect(ctx, path, "ro")
		if code(err) == sqlite3.SQLITE_READONLY || code(err) == sqlite3.SQLITE_CANTOPEN {
			// The claim of this file was cut off and has to be rolled back.
			fresh, err = inspect(ctx, path, "rw")
		}
		if err != nil || !fresh {
			return err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// In the rollback journal's mode, so that the mark is in the file itself,
	// whatever becomes of a write-ahead log later.
	db, err := openMode(path, "rwc", []pragma{{"synchronous", "FULL", "2"}})
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id=%d", applicationID))
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// inspect says whether a database has nothing in it yet. Its error is
// ErrForeign or ErrNewer for one that is not for us.
func inspect(ctx context.Context, path, mode string) (fresh bool, err error) {
	db, err := openMode(path, mode, []pragma{{"busy_timeout", "5000", "5000"}})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var id, version, objects int
	err = db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).Scan(&id, &version, &objects)
	if code(err) == sqlite3.SQLITE_NOTADB {
		return false, fmt.Errorf("%w: it is no SQLite database", ErrForeign)
	}
	if err != nil {
		return false, err
	}
	if id == 0 && version == 0 && objects == 0 {
		return true, nil
	}
	if id != applicationID {
		return false, fmt.Errorf("%w: it is the database of another program", ErrForeign)
	}
	steps, err := migrations()
	if err == nil && version > len(steps) {
		err = fmt.Errorf("%w: %d, this one knows %d", ErrNewer, version, len(steps))
	}
	return false, err
}

// migrate brings a database to the newest version, each step in a transaction.
func migrate(ctx context.Context, conn *sql.Conn) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	for ; version < len(steps); version++ {
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, steps[version]+fmt.Sprintf("; PRAGMA user_version=%d", version+1))
		if err != nil {
			return errors.Join(fmt.Errorf("migration %d: %w", version+1, err), tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("migration %d: %w", version+1, err)
		}
	}
	return nil
}
