package files

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// RenameNew replaces no file.
func RenameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return linkNew(from, to)
	case err != nil:
		return &fs.PathError{Op: "rename to", Path: to, Err: err}
	}
	return nil
}
