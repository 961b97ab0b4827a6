package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/userpath"
)

// Backup copies the database, as of the start of the call, to a path that must not exist and
// must not contain control characters. Events can be stored meanwhile. The copy is complete
// and synced, and can be opened or restored with cp. It gets the mode of the database and, if
// permitted, its owner. A failed Backup leaves no files.
//
// The write-ahead log cannot shrink during a Backup. Close ends Backup with
// chargeingest.ErrClosed.
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

func (s *Store) backup(ctx context.Context, path string) (err error) {
	if err := userpath.Check(path); err != nil {
		return fmt.Errorf("path %w", err)
	}
	// SQLite would apply an old WAL or journal to the copy.
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			_, err := os.Stat(path + suffix) // fails for a dangling symbolic link
			return errors.Join(fmt.Errorf("%s: %w", path+suffix, fs.ErrExist), userpath.Explain(path+suffix, err))
		}
	}
	// The draft has its own directory, because SQLite can leave files next to it.
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return userpath.Explain(filepath.Dir(path), err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	draft, err := os.OpenFile(filepath.Join(dir, filepath.Base(path)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, draft.Close()) }()
	if err := s.file.checkForRead(ctx); err != nil {
		return err
	}
	if err := s.copyTo(ctx, draft.Name()); err != nil {
		return err
	}
	if err := s.file.setNewMark(draft.Name()); err != nil {
		return err
	}
	if err := s.file.giveOwner(draft); err != nil {
		s.options.Logger.Warn("sqlitestore: a backup could not be given the owner and mode of the database", "error", err)
	}
	if err := draft.Sync(); err != nil {
		return err
	}
	if err := os.Rename(draft.Name(), path); err != nil {
		return err
	}
	if err := syncDir(path); err != nil {
		return errors.Join(err, os.Remove(path)) // a power cut could remove it
	}
	return nil
}

// copyTo opens its own connection: a copy can take far longer than a read.
func (s *Store) copyTo(ctx context.Context, path string) (err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	db, err := s.file.open(commonPragmas())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	return err
}

// setNewMark gives a copy a new mark, so that no existing WAL matches it. The caller syncs the
// file.
func (f *file) setNewMark(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
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
