package sqlitestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/gofrs/flock"

	"example.com/chargeingest/internal/files"
)

func lockFile(path string) (*flock.Flock, error) {
	like, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := files.OpenLike(path+".lock", like)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	lock := flock.New(path + ".lock")
	switch locked, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("lock: %w", err)
	case !locked:
		return nil, errors.Join(ErrLocked, lock.Close())
	}
	return lock, nil
}

// claimed lists the database files that this process has open. Closing another descriptor of
// one would release SQLite's locks.
var claimed struct {
	mu    sync.Mutex
	files []os.FileInfo
	kept  []*os.File // never closed
}

func isClaimed(file os.FileInfo) bool {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	return slices.ContainsFunc(claimed.files, func(f os.FileInfo) bool { return os.SameFile(f, file) })
}

func claim(file os.FileInfo) bool {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	if slices.ContainsFunc(claimed.files, func(f os.FileInfo) bool { return os.SameFile(f, file) }) {
		return false
	}
	claimed.files = append(claimed.files, file)
	return true
}

func unclaim(file os.FileInfo) {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	claimed.files = slices.DeleteFunc(claimed.files, func(f os.FileInfo) bool { return os.SameFile(f, file) })
}

func keepOpen(f *os.File) {
	claimed.mu.Lock()
	defer claimed.mu.Unlock()
	claimed.kept = append(claimed.kept, f)
}
