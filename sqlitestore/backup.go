package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/files"
	"example.com/chargeingest/internal/userpath"
)

// Backup copies the database, as of the start of the call, to a path that must not exist and
// must not contain control characters. Events can be stored meanwhile. The copy is complete and
// synced: open it, or restore it with cp. It gets the database's mode and, if permitted, its
// owner. A failed Backup leaves no files.
//
// The write-ahead log does not shrink meanwhile. Close ends Backup with chargeingest.ErrClosed.
func (s *Store) Backup(ctx context.Context, path string) error {
	s.backupsMu.Lock()
	if s.running.Err() != nil {
		s.backupsMu.Unlock()
		return chargeingest.ErrClosed
	}
	s.backups.Add(1)
	s.backupsMu.Unlock()
	defer s.backups.Done()

	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.running, cancel)()
	err := s.backup(limited, path)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.running.Err() != nil:
		return chargeingest.ErrClosed
	}
	return fmt.Errorf("sqlitestore: backup: %w", err)
}

func (s *Store) backup(ctx context.Context, path string) error {
	return writeCopy(path, func(d *draft) error {
		if err := s.file.checkForRead(ctx); err != nil {
			return err
		}
		if err := s.copyTo(ctx, d.Name()); err != nil {
			return err
		}
		if err := s.file.setNewMark(d.Name()); err != nil {
			return err
		}
		if err := s.file.giveOwner(d.File); err != nil {
			s.options.Logger.Warn("sqlitestore: a backup could not be given the owner and mode of the database", "error", err)
		}
		return nil
	})
}

// Backup is like [Store.Backup] for a database that another process has open, or did not close.
// The copy has mode 0600 and passed an integrity check. Meanwhile stores cannot open the
// database. The errors are those of [Open].
func Backup(ctx context.Context, path, copyPath string) (c Contents, err error) {
	source, problem, err := openSource(ctx, path)
	if err != nil {
		return c, fmt.Errorf("sqlitestore: backup of %s: %w", path, err)
	}
	defer func() {
		if err = errors.Join(err, source.close()); err != nil {
			err = fmt.Errorf("sqlitestore: backup of %s: %w", path, err)
		}
	}()
	if problem != nil {
		return c, problem
	}
	err = writeCopy(copyPath, func(d *draft) error {
		c, err = source.copyTo(ctx, d)
		return err
	})
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return c, err
}

func (s *source) copyTo(ctx context.Context, d *draft) (c Contents, err error) {
	target := d.Name()
	if s.overlay != nil {
		target = systemVFSURI(target)
	}
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", target); err != nil {
		return c, err
	}
	if err := s.checkUnchanged(); err != nil {
		return c, err
	}
	if c, err = d.check(ctx); err != nil {
		return c, fmt.Errorf("the copy is damaged: %w", err)
	}
	if err := s.checkAcknowledged(c.newest); err != nil {
		return c, err
	}
	if c.SchemaVersion >= identityVersion {
		err = s.setNewMark(d.Name())
	}
	return c, err
}

func systemVFSURI(path string) string {
	name := "unix"
	if runtime.GOOS == "windows" {
		name = "win32"
	}
	uri := fileURI(path)
	uri.RawQuery = "vfs=" + name
	return uri.String()
}

func writeCopy(path string, write func(*draft) error) (err error) {
	if err := userpath.Check(path); err != nil {
		return fmt.Errorf("path %w", err)
	}
	// SQLite would apply them to the copy.
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			_, err := os.Stat(path + suffix) // fails for a dangling symbolic link
			return errors.Join(fmt.Errorf("%s: %w", path+suffix, fs.ErrExist), userpath.Explain(path+suffix, err))
		}
	}
	d, err := newDraft(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.remove()) }()
	if err := write(d); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := files.RenameNew(d.Name(), path); err != nil {
		return err
	}
	if err := files.SyncDir(path); err != nil {
		return errors.Join(err, os.Remove(path)) // a power cut could remove it
	}
	return nil
}

func (s *Store) copyTo(ctx context.Context, path string) (err error) {
	db, err := s.file.open(commonPragmas())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	return err
}

// setNewMark changes a copy so that no existing WAL matches it.
func (f *file) setNewMark(path string) error {
	copied := &file{path: path, tuning: f.tuning}
	connector, err := copied.connector([]pragma{{"journal_mode", "off"}, {"synchronous", "0"}})
	if err != nil {
		return err
	}
	opened, err := connector.Connect(context.Background())
	if err != nil {
		return err
	}
	err = conn{opened}.exec(setMarkSQL(mark{stamp: stamp{opening: newToken()}}))
	return errors.Join(err, opened.Close())
}
