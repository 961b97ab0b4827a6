// Package files has operations for a database and the files next to it that package os lacks.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// SyncDir syncs the directory of a file, so that its name survives a power cut.
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

// OpenLike opens or creates a regular file. It gives the file the owner and mode of another one,
// if any and if it can, so that root does not lock the owner out.
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

// MatchOwner gives a file the owner and mode of another one.
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
