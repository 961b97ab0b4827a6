//go:build !linux && !darwin && !windows

package sqlitestore

import "os"

// lockDataFile does nothing: the lock file is all there is. The system has only
// locks that SQLite, in the same process, would release.
func lockDataFile(*os.File) (bool, error) { return true, nil }

func unlockData(*os.File) {}
