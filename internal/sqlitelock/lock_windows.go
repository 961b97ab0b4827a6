package sqlitelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func Lock(f *os.File) (bool, error) { return lockByte(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

func Share(f *os.File) (bool, error) { return lockByte(f, 0) }

func ExcludeSQLite(*os.File) (bool, error) { return true, nil }

func lockByte(f *os.File, kind uint32) (bool, error) {
	at := windows.Overlapped{OffsetHigh: offset >> 32}
	err := windows.LockFileEx(windows.Handle(f.Fd()), kind|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

// Unlock does nothing: closing the file releases the lock.
func Unlock(*os.File) {}
