//go:build !linux && !darwin && !windows

package sqlitelock

import "os"

// Lock does nothing, because SQLite would release the lock.
func Lock(*os.File) (bool, error) { return true, nil }

func Share(*os.File) (bool, error) { return true, nil }

func ExcludeSQLite(*os.File) (bool, error) { return true, nil }

func Unlock(*os.File) {}
