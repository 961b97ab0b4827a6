//go:build !linux && !darwin && !windows

package sqlitestore

import "os"

// lockDataFile does nothing, because SQLite would release the lock.
func lockDataFile(*os.File) (bool, error) { return true, nil }

func shareDataFile(*os.File) (bool, error) { return true, nil }

func excludeSQLite(*os.File) (bool, error) { return true, nil }

func unlockData(*os.File) {}
