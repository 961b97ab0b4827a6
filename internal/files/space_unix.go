//go:build linux || darwin || freebsd

package files

import "golang.org/x/sys/unix"

// Free returns the free bytes, or nil if they are unknown.
func Free(dir string) *int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return nil
	}
	return new(int64(s.Bavail) * int64(s.Bsize)) //nolint:unconvert // types of other systems
}
