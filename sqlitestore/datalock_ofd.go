//go:build linux || darwin

package sqlitestore

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockDataFile returns false if another store has the lock, even under another name. The lock
// belongs to the open file description, so closing other descriptors does not release it. On
// file systems without such locks, only the lock file protects the database.
func lockDataFile(f *os.File) (bool, error) {
	err := setDataLock(f, unix.F_WRLCK)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
		return false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.ENOSYS):
		return true, nil
	}
	return err == nil, err
}

// unlockData unlocks explicitly, because a starting child process briefly shares the
// descriptor.
func unlockData(f *os.File) { _ = setDataLock(f, unix.F_UNLCK) }

func setDataLock(f *os.File, kind int16) error {
	return unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: lockOffset, Len: 1})
}
