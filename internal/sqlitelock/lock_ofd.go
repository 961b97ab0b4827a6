//go:build linux || darwin

package sqlitelock

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lock returns false if another open file of the database has the lock, even under another
// name. The open file description owns the lock, so closing other descriptors does not release
// it. On file systems without such locks, Lock returns true.
func Lock(f *os.File) (bool, error) { return try(f, unix.F_WRLCK, offset, 1) }

// Share is like Lock, but only excludes Lock.
func Share(f *os.File) (bool, error) { return try(f, unix.F_RDLCK, offset, 1) }

// ExcludeSQLite keeps SQLite away: it locks the bytes in https://www.sqlite.org/src/file/src/os.h.
func ExcludeSQLite(f *os.File) (bool, error) { return try(f, unix.F_WRLCK, 1<<30, 512) }

func try(f *os.File, kind int16, begin, length int64) (bool, error) {
	err := set(f, kind, begin, length)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS):
		return true, nil
	}
	return err == nil, err
}

// Unlock releases the lock before the file is closed, because a starting child process briefly shares the descriptor.
func Unlock(f *os.File) { _ = set(f, unix.F_UNLCK, 0, 0) }

func set(f *os.File, kind int16, begin, length int64) error {
	return unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: begin, Len: length})
}
