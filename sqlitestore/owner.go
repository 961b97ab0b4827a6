package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	sqlite3 "modernc.org/sqlite/lib"
)

// openSideFile gives the file the owner and mode of the database if it can: a program run by
// root must not lock the owner out.
func openSideFile(path string, database fs.FileInfo) (*os.File, error) {
	mode := fs.FileMode(0o600)
	if database != nil {
		mode = database.Mode().Perm()
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, mode) //nolint:gosec // the caller chose the path
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: if another user created the file, give it the owner and mode of the database (see chown and chmod --reference)", err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: move it away", shellQuoted(path)) // reading a pipe may block forever
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if database != nil {
		_ = matchOwner(f, database)
	}
	return f, nil
}

func matchOwner(f *os.File, like fs.FileInfo) error {
	now, err := f.Stat()
	if err != nil {
		return err
	}
	err = matchUser(f, now, like)
	if now.Mode().Perm() != like.Mode().Perm() {
		err = errors.Join(err, f.Chmod(like.Mode().Perm()))
	}
	return err
}

func (f *file) giveOwner(other *os.File) error {
	info, err := f.data.Stat()
	if err != nil {
		return err
	}
	return matchOwner(other, info)
}

func explainPermission(database string, err error) error {
	switch resultCode(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if denied := access(database + suffix); errors.Is(denied, fs.ErrPermission) {
				return fmt.Errorf("%w: %w", err, denied)
			}
		}
	}
	return err
}
