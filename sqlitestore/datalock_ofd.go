//go:build linux || darwin

package sqlitestore

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockDataFile returns false if another store has the lock, even under another name. The open
// file description owns the lock, so closing other descriptors does not release it. On file
// systems without such locks, only the lock file protects the database.
func lockDataFile(f *os.File) (bool, error) { return tryDataLock(f, unix.F_WRLCK, lockOffset, 1) }

func shareDataFile(f *os.File) (bool, error) { return tryDataLock(f, unix.F_RDLCK, lockOffset, 1) }

// excludeSQLite locks the bytes in https://www.sqlite.org/src/file/src/os.h.
func excludeSQLite(f *os.File) (bool, error) { return tryDataLock(f, unix.F_WRLCK, 1<<30, 512) }

func tryDataLock(f *os.File, kind int16, begin, length int64) (bool, error) {
	err := setDataLock(f, kind, begin, length)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS):
		return true, nil
	}
	return err == nil, err
}

// unlockData is explicit, because a starting child process briefly shares the descriptor.
func unlockData(f *os.File) { _ = setDataLock(f, unix.F_UNLCK, 0, 0) }

func setDataLock(f *os.File, kind int16, begin, length int64) error {
	return unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: begin, Len: length})
}
