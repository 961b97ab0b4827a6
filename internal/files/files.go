// Package files extends package os.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// SyncDir makes the name of a file durable.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// OpenLike gives a file the owner and mode of a database, if any and if it can: a program run by
// root must not lock the owner out.
func OpenLike(path string, like fs.FileInfo) (*os.File, error) {
	mode := fs.FileMode(0o600)
	if like != nil {
		mode = like.Mode().Perm()
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|noFollow, mode) //nolint:gosec // the caller chose the path
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: if another user created the file, give it the owner and mode of the database (see chown and chmod --reference)", err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file: move it away", path) // reading a pipe may block forever
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if like != nil {
		_ = MatchOwner(f, like)
	}
	return f, nil
}

// MatchOwner also sets the mode.
func MatchOwner(f *os.File, like fs.FileInfo) error {
	now, err := f.Stat()
	if err != nil {
		return err
	}
	err = matchUser(f, now, like)
	if now.Mode().Perm() != like.Mode().Perm() {
		err = errors.Join(err, f.Chmod(like.Mode().Perm()))
	}
	return err
}
