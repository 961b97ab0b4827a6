package sqlitestore

import (
	"embed"
	"fmt"
	"io/fs"
)

// A script per schema version, named by the version from 1.
//
//go:embed migrations/*.sql
var migrations embed.FS

func migrationScripts() ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	scripts := make([]string, len(names))
	for i, name := range names {
		script, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		scripts[i] = string(script)
	}
	return scripts, nil
}

func checkVersion(version int64) error {
	scripts, err := migrationScripts()
	if err == nil && version > int64(len(scripts)) {
		err = fmt.Errorf("%w: the schema has version %d, this package supports up to %d", ErrSchemaTooNew, version, len(scripts))
	}
	return err
}

// migrate runs each missing script in its own transaction. It always sets the mark of this
// opening, so that the next checkpoint syncs the whole file.
func (f *file) migrate(c conn) error {
	rows, err := c.query("SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version")
	if err != nil {
		return err
	}
	var version, tables int64
	if err := scan(rows[0], &version, &tables); err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if version == 0 && tables > 0 {
		return fmt.Errorf("%w: it has tables but no version", ErrNotEventDatabase)
	}
	scripts, err := migrationScripts()
	if err != nil {
		return err
	}
	for i, script := range scripts[version:] {
		version := version + int64(i) + 1
		if err := setVersion(c, script, version); err != nil {
			return fmt.Errorf("migrate to version %d: %w", version, err)
		}
	}
	f.mark, _ = readMark(c) // a damaged mark is replaced
	newest, err := c.newestEvent()
	if err != nil {
		return err
	}
	if err := setVersion(c, setMarkSQL(f.nextMark(newest)), int64(len(scripts))); err != nil {
		return fmt.Errorf("set the mark: %w", err)
	}
	return nil
}

// setVersion leaves the transaction open after an error: close the connection.
func setVersion(c conn, script string, version int64) error {
	for _, step := range []string{
		"BEGIN IMMEDIATE",
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		script,
		fmt.Sprintf("PRAGMA user_version = %d", version),
		"COMMIT",
	} {
		if err := c.exec(step); err != nil {
			return err
		}
	}
	return nil
}
