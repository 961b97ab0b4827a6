//go:build linux || darwin

package sqlitelock

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lock returns false if another program has the lock, even under another name. Closing other
// descriptors does not release it. File systems without such locks return true.
func Lock(f *os.File) (bool, error) { return try(f, unix.F_WRLCK, offset, 1) }

// Share excludes Lock.
func Share(f *os.File) (bool, error) { return try(f, unix.F_RDLCK, offset, 1) }

// ExcludeSQLite locks the bytes in https://www.sqlite.org/src/file/src/os.h.
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

// Unlock is explicit, because a starting child process briefly shares the descriptor.
func Unlock(f *os.File) { _ = set(f, unix.F_UNLCK, 0, 0) }

func set(f *os.File, kind int16, begin, length int64) error {
	return unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: begin, Len: length})
}
