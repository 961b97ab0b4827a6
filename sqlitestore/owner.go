package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/files"
)

func (f *file) giveOwner(other *os.File) error {
	info, err := f.data.Stat()
	if err != nil {
		return err
	}
	return files.MatchOwner(other, info)
}

func explainPermission(database string, err error) error {
	switch resultCode(err) {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if denied := files.Access(database + suffix); errors.Is(denied, fs.ErrPermission) {
				return fmt.Errorf("%w: %w", err, denied)
			}
		}
	}
	return err
}
