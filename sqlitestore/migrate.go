package sqlitestore

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// A script per schema version, named by the version from 1.
//
//go:embed migrations/*.sql
var migrations embed.FS

var scripts = func() (all []string) {
	names, _ := fs.Glob(migrations, "migrations/*.sql")
	for _, name := range names {
		script, _ := migrations.ReadFile(name) // no error: it is embedded
		all = append(all, string(script))
	}
	return all
}()

func checkVersion(version int64) error {
	if version > int64(len(scripts)) {
		return fmt.Errorf("%w: the schema has version %d, this package supports up to %d", ErrSchemaTooNew, version, len(scripts))
	}
	return nil
}

// migrate runs each missing script in its own transaction. It always sets the mark of this
// opening, so that the next checkpoint syncs the whole file.
func (f *file) migrate(c conn) error {
	var version, tables int64
	if err := c.row("SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version", &version, &tables); err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if version == 0 && tables > 0 {
		return fmt.Errorf("%w: it has tables but no version", ErrNotEventDatabase)
	}
	if version >= identityVersion {
		f.mark, _ = readMark(c) // a damaged mark is replaced
	}
	// request_events and views of others refer to the table of events, which is replaced.
	// writable_schema tolerates such views.
	if err := errors.Join(c.exec("PRAGMA foreign_keys = 0"), c.exec("PRAGMA writable_schema = 1")); err != nil {
		return err
	}
	if version > 0 && version < int64(len(scripts)) {
		f.logger.Info("sqlitestore: the database is being upgraded", "database", f.path, "schema_version", version, "to", len(scripts))
	}
	for ; version < int64(len(scripts)); version++ {
		var err error
		if version == movingVersion {
			err = f.moveEvents(c)
		}
		if err == nil {
			err = f.setVersion(c, version+1, scripts[version])
		}
		if err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	if err := errors.Join(c.exec("PRAGMA foreign_keys = 1"), c.exec("PRAGMA writable_schema = 0")); err != nil {
		return err
	}
	if err := f.setVersion(c, version, "DELETE FROM chunks WHERE run NOT IN (SELECT id FROM runs)"); err != nil {
		return fmt.Errorf("set the mark: %w", err)
	}
	return nil
}

// movingVersion has events in two tables.
const movingVersion = 8

const movedColumns = "seq, id, platform, timestamp_s, timestamp_ns, timestamp_assigned, received_s, received_ns, digest, content"

// moveEvents continues where an earlier call was interrupted. It moves in small transactions,
// because one would double the size of the database.
func (f *file) moveEvents(c conn) error {
	for {
		var left bool
		if err := c.row("SELECT count(*) FROM (SELECT 1 FROM events LIMIT 1)", &left); err != nil || !left {
			return err
		}
		if err := f.setVersion(c, movingVersion,
			fmt.Sprintf("INSERT INTO moved_events (%s) SELECT %s FROM events ORDER BY seq LIMIT %d", movedColumns, movedColumns, f.moveBatch),
			"DELETE FROM events WHERE seq <= (SELECT max(seq) FROM moved_events)",
		); err != nil {
			return err
		}
		if _, err := c.checkpoint("PASSIVE"); err != nil { // so that the WAL stays small
			return err
		}
	}
}

// setVersion leaves the transaction open after an error: close the connection.
func (f *file) setVersion(c conn, version int64, scripts ...string) error {
	steps := append([]string{"BEGIN IMMEDIATE", fmt.Sprintf("PRAGMA application_id = %d", applicationID)}, scripts...)
	next := f.mark
	if version >= identityVersion {
		newest, err := c.newestEvent()
		if err != nil {
			return err
		}
		next = f.nextMark(newest)
		steps = append(steps, setMarkSQL(next))
	}
	for _, step := range append(steps, fmt.Sprintf("PRAGMA user_version = %d", version), "COMMIT") {
		if err := c.exec(step); err != nil {
			return err
		}
	}
	f.mark = next
	return nil
}
