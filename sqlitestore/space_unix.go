//go:build linux || darwin || freebsd

package sqlitestore

import "golang.org/x/sys/unix"

// freeBytes returns 0 if it fails.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize) //nolint:unconvert // types of other systems
}
