//go:build unix

package sqlitestore

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow makes opening a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW

// ownLike gives a file the owner and group of another one. Only root can
// give a file away; other users can give it to a group of theirs.
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

// links returns how many names a file has.
func linkCount(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink) //nolint:unconvert // its type is another one on other systems
	}
	return 1
}

// access returns the error of opening a file to read and write it, if that is one.
// It does not open it: closing it would release the locks that this process has.
func access(path string) error {
	const readWrite = 4 | 2
	if err := syscall.Access(path, readWrite); err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return nil
}
