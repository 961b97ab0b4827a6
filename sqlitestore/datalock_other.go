//go:build !linux && !darwin && !windows

package sqlitestore

import "os"

// lockDataFile does nothing, because SQLite would release the locks of this system. Only the
// lock file protects the database.
func lockDataFile(*os.File) (bool, error) { return true, nil }

func unlockData(*os.File) {}
