//go:build unix

package files

import (
	"io/fs"
	"os"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW

// matchUser sets at least the group: users other than root can choose only among their groups.
func matchUser(f *os.File, now, like fs.FileInfo) error {
	is, ok := now.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	err := f.Chown(int(want.Uid), int(want.Gid))
	if err != nil && is.Gid != want.Gid {
		err = f.Chown(-1, int(want.Gid))
	}
	return err
}

// Links counts the names of a file.
func Links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink) //nolint:unconvert // its type is another one on other systems
	}
	return 1
}

// Access does not open the file, since closing it could release locks.
func Access(path string) error {
	const readWrite = 4 | 2
	if err := syscall.Access(path, readWrite); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}
