//go:build linux || darwin

package sqlitestore

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockData locks a file for as long as it is open, whatever its name. It
// returns false if another open file has the lock. The lock is one of the open
// file description: neither SQLite's locks nor closing another descriptor
// release it. On a file system without such locks the lock file is all there is.
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

// unlockData releases the lock before the file is closed: a process that is being
// started has the descriptor, too, for a moment.
func unlockData(f *os.File) { _ = setDataLock(f, unix.F_UNLCK) }

func setDataLock(f *os.File, kind int16) error {
	return unix.FcntlFlock(f.Fd(), setLock, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: lockOffset, Len: 1})
}
