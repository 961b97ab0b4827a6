package sqlitestore

import (
	"embed"
	"fmt"
	"io/fs"
)

// migrations are applied in the order of their names, which start with the
// version that they lead to, counted from 1 without gaps.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrationScripts returns the scripts, the first version's first.
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

// checkVersion refuses the database of a newer package.
func checkVersion(version int64) error {
	scripts, err := migrationScripts()
	if err == nil && version > int64(len(scripts)) {
		err = fmt.Errorf("%w: it has version %d, this package knows %d", ErrSchemaTooNew, version, len(scripts))
	}
	return err
}

// migrate brings the schema to the newest version, each step in a transaction of its
// own, and sets the mark of an opening. It writes even if nothing is to be done: the
// checkpoint that follows then syncs the whole file, whoever wrote it last.
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
	f.mark, _ = readMark(c) // one that is damaged is replaced
	newest, err := c.newestEvent()
	if err != nil {
		return err
	}
	if err := setVersion(c, setMark(f.nextMark(newest)), int64(len(scripts))); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// setVersion runs a script and sets the version in one transaction. After an
// error the transaction is open still, and the connection to be closed.
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
