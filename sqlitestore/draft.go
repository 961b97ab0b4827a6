package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"example.com/chargeingest/internal/userpath"
)

// draft has a directory for the files that SQLite can leave next to it.
type draft struct {
	*os.File
	dir  string
	lock *flock.Flock
}

const draftLock = "in-use"

// newDraft also removes drafts of killed processes.
func newDraft(path string) (*draft, error) {
	path, err := filepath.Abs(path) // SQLite requires it
	if err != nil {
		return nil, err
	}
	parent, base := filepath.Dir(path), filepath.Base(path)
	old, err := os.ReadDir(parent)
	if err != nil {
		return nil, userpath.Explain(parent, err)
	}
	for _, e := range old {
		if strings.HasPrefix(e.Name(), "."+base+"-draft-") && e.IsDir() {
			removeAbandoned(filepath.Join(parent, e.Name()))
		}
	}
	dir, err := os.MkdirTemp(parent, "."+base+"-draft-*")
	if err != nil {
		return nil, userpath.Explain(parent, err)
	}
	d := &draft{dir: dir, lock: flock.New(filepath.Join(dir, draftLock))}
	locked, err := d.lock.TryLock()
	if err == nil && !locked {
		err = fmt.Errorf("%s is in use", dir)
	}
	if err == nil {
		d.File, err = os.OpenFile(filepath.Join(dir, base), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the caller names the file
	}
	if err != nil {
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

func removeAbandoned(dir string) {
	lock := flock.New(filepath.Join(dir, draftLock), flock.SetFlag(os.O_RDWR))
	switch locked, err := lock.TryLock(); {
	case err == nil && locked:
		_ = os.RemoveAll(dir)
	case errors.Is(err, fs.ErrNotExist):
		_ = os.Remove(dir)
	}
	_ = lock.Close()
}

func (d *draft) remove() error {
	var errs []error
	if d.File != nil {
		errs = append(errs, d.Close())
	}
	return errors.Join(append(errs, d.lock.Close(), os.RemoveAll(d.dir))...)
}

func (d *draft) check(ctx context.Context) (Contents, error) {
	copied := &file{path: d.Name(), tuning: defaultTuning()}
	db, err := copied.open(toolPragmas(), "mode=ro", "immutable=1")
	if err != nil {
		return Contents{}, err
	}
	db.SetMaxOpenConns(1)
	c, problems, err := checkContents(ctx, db)
	return c, errors.Join(append(problems, err, db.Close())...)
}
