package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Of measuring how long the disk takes to sync: at least so many times, and as
// long as it takes to see more than a moment of it.
const (
	syncTimes = 200
	syncTime  = 200 * time.Millisecond
	syncBytes = 4096
)

// syncMedian returns how long it takes to append a page to a file in the folder
// and sync it, which no single request that is durable can undercut.
func syncMedian(folder string) (median time.Duration, err error) {
	path := filepath.Join(folder, "sync")
	file, err := os.Create(path) //nolint:gosec // in a folder of our own
	if err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, file.Close(), os.Remove(path)) //nolint:gosec // in a folder of our own
	}()
	page := make([]byte, syncBytes)
	var times []time.Duration
	for begin := time.Now(); len(times) < syncTimes || time.Since(begin) < syncTime; {
		start := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
