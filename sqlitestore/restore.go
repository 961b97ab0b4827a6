package sqlitestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/chargeingest/internal/files"
	"example.com/chargeingest/internal/sqlitelock"
	"example.com/chargeingest/internal/userpath"
)

// ErrRestoreUnfinished is returned after an interrupted [Restore]. All files are unchanged.
var ErrRestoreUnfinished = errors.New("a restore was interrupted")

// RestoreResult is the result of a [Restore].
type RestoreResult struct {
	Contents

	MovedTo string // directory of the old files
	Moved   []string
}

// Restore replaces the database at path, which no program may have open, by a copy of a backup.
// It moves the old files to a new directory next to them. The new database gets the owner and
// mode of the old one. While files are moved, a marker (the path plus ".restoring") keeps
// stores away; after an interruption, call Restore again. The errors are those of [Open].
func Restore(ctx context.Context, backup, path string) (RestoreResult, error) {
	r := &restorer{before: func(string) {}}
	result, err := r.restore(ctx, backup, path)
	if err != nil {
		err = fmt.Errorf("sqlitestore: restore %s: %w", path, err)
	}
	return result, err
}

type restorer struct {
	before func(operation string)
	file   *file
	plan   restorePlan
	result RestoreResult
}

type restorePlan struct {
	Remark string   `json:"remark"`
	Aside  string   `json:"moved_to"`
	Moved  []string `json:"moved"`
}

const restoringSuffix = ".restoring"

var databaseSuffixes = []string{"", "-journal", "-shm", "-wal", ".state"}

func (r *restorer) restore(ctx context.Context, backup, path string) (result RestoreResult, err error) {
	for _, p := range []string{backup, path} {
		if err := userpath.Check(p); err != nil {
			return result, fmt.Errorf("path %w", err)
		}
	}
	path, err = realPath(path)
	if err != nil {
		return result, err
	}
	lock, err := lockFile(path)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	r.file = &file{path: path, tuning: defaultTuning()}
	defer func() { err = errors.Join(err, r.file.release()) }()
	if err := r.file.lockAgainstAll(ctx); err != nil {
		return result, err
	}
	unfinished, err := r.readMarker()
	if err != nil {
		return result, err
	}
	d, err := newDraft(path)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if r.result.Contents, err = r.fill(ctx, d, backup); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return result, err
	}
	if !unfinished {
		if err := r.begin(d); err != nil {
			return result, err
		}
	}
	if err := r.exchange(d); err != nil {
		return result, errors.Join(err, r.cancel(), r.file.checkUnrestored())
	}
	return r.result, nil
}

func (f *file) lockAgainstAll(ctx context.Context) error {
	info, err := os.Lstat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: not a regular file", f.path, ErrNotEventDatabase)
	case isClaimed(info):
		return ErrLocked
	}
	if err := f.checkReplaceable(ctx, info.Size()); err != nil {
		return err
	}
	if err := f.openAndLock(); err != nil {
		return err
	}
	switch alone, err := sqlitelock.ExcludeSQLite(f.data); {
	case err != nil:
		return err
	case !alone:
		return fmt.Errorf("%w or by another program, such as a sqlite3 shell or a backup: end it and try again", ErrLocked)
	}
	return nil
}

// Newer and damaged databases can be replaced.
func (f *file) checkReplaceable(ctx context.Context, size int64) error {
	_, err := os.Lstat(f.path + ".state")
	hasState := err == nil
	err = f.checkHeader(ctx)
	if size == 0 || hasState || !errors.Is(err, ErrNotEventDatabase) {
		return nil
	}
	return fmt.Errorf("%w: move %s away if it is to be replaced", ErrNotEventDatabase, userpath.ShellQuoted(f.path))
}

func (r *restorer) fill(ctx context.Context, d *draft, backup string) (c Contents, err error) {
	if info, err := os.Stat(backup); err == nil && r.file.info != nil && os.SameFile(info, r.file.info) {
		return c, errors.New("the backup is the database itself")
	}
	source, problem, err := openSource(ctx, backup)
	if err != nil {
		return c, fmt.Errorf("backup %s: %w", backup, err)
	}
	defer func() { err = errors.Join(err, source.close()) }()
	switch {
	case source.inUse:
		return c, fmt.Errorf("backup %s: %w: make a backup of it", backup, ErrLocked)
	case problem != nil:
		return c, fmt.Errorf("backup %s: %w", backup, problem)
	}
	if _, err := io.Copy(d, contextReader{ctx, source.overlay.reader()}); err != nil {
		return c, err
	}
	if err := source.checkUnchanged(); err != nil {
		return c, err
	}
	if c, err = d.check(ctx); err != nil {
		return c, fmt.Errorf("backup %s is damaged: %w", backup, err)
	}
	if err := source.checkAcknowledged(c.newest); err != nil {
		return c, fmt.Errorf("backup %s: %w", backup, err)
	}
	if c.SchemaVersion >= identityVersion {
		if err := r.file.setNewMark(d.Name()); err != nil {
			return c, err
		}
	}
	if r.file.info != nil {
		if err := files.MatchOwner(d.File, r.file.info); err != nil {
			return c, fmt.Errorf("the owner of the database cannot be set; restore as root or as its owner: %w", err)
		}
	}
	return c, d.Sync()
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func (r *restorer) begin(d *draft) error {
	path := r.file.path
	for _, suffix := range databaseSuffixes {
		if _, err := os.Lstat(path + suffix); err == nil {
			r.plan.Moved = append(r.plan.Moved, filepath.Base(path)+suffix)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(r.plan.Moved) == 0 {
		return nil
	}
	r.plan.Aside = filepath.Base(path) + ".before-restore-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	r.plan.Remark = "A restore moves these files to that directory. It was interrupted: run it again, or move all of them back and delete this file."
	marker, err := os.OpenFile(filepath.Join(d.dir, "marker"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r.plan, "", "\t")
	if err == nil {
		_, err = marker.Write(append(text, '\n'))
	}
	if err = errors.Join(err, marker.Sync(), marker.Close()); err != nil {
		return err
	}
	r.before("marker")
	if err := files.RenameNew(marker.Name(), path+restoringSuffix); err != nil {
		return err
	}
	r.before("sync marker")
	return files.SyncDir(path)
}

func (r *restorer) aside(name string) string {
	return filepath.Join(filepath.Dir(r.file.path), r.plan.Aside, name)
}

func (r *restorer) exchange(d *draft) error {
	path := r.file.path
	if r.plan.Aside != "" {
		r.before("mkdir")
		if err := os.Mkdir(r.aside(""), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, name := range r.plan.Moved {
		r.before("move " + name)
		err := files.RenameNew(filepath.Join(filepath.Dir(path), name), r.aside(name))
		if _, moved := os.Lstat(r.aside(name)); errors.Is(err, fs.ErrNotExist) && moved == nil {
			continue
		}
		if err != nil {
			return err
		}
	}
	if r.plan.Aside != "" {
		r.before("sync moved")
		if err := errors.Join(files.SyncDir(r.aside("x")), files.SyncDir(path)); err != nil {
			return err
		}
		r.result.MovedTo, r.result.Moved = r.aside(""), r.plan.Moved
	}
	r.before("place")
	if err := files.RenameNew(d.Name(), path); err != nil {
		return err
	}
	r.before("sync placed")
	if err := files.SyncDir(path); err != nil {
		return err
	}
	if r.plan.Aside == "" {
		return nil
	}
	r.before("remove marker")
	if err := os.Remove(path + restoringSuffix); err != nil {
		return err
	}
	r.before("sync removal")
	return files.SyncDir(path)
}
