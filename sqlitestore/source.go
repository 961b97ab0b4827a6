package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/gofrs/flock"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/sqlitelock"
	"example.com/chargeingest/internal/userpath"
)

// source reads a database through SQLite if a store has it open. Otherwise it uses an overlay,
// and locks stores out.
type source struct {
	*file
	inUse   bool
	last    *state
	before  [2]os.FileInfo
	lock    *flock.Flock
	overlay *overlay
	db      *sql.DB
	closers []func() error
}

// openSource returns a problem if the files do not belong together.
func openSource(ctx context.Context, path string) (s *source, problem, err error) {
	if err := userpath.Check(path); err != nil {
		return nil, nil, fmt.Errorf("path %w", err)
	}
	path, err = realPath(path)
	if err != nil {
		return nil, nil, err
	}
	s = &source{file: &file{path: path, tuning: defaultTuning(), logger: slog.New(slog.DiscardHandler)}}
	defer func() {
		if err != nil {
			err = errors.Join(explainPermission(path, err), s.close())
			s = nil
		}
	}()
	if err := s.checkUnrestored(); err != nil {
		return s, nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return s, nil, userpath.Explain(path, err)
	case !info.Mode().IsRegular():
		return s, nil, fmt.Errorf("%w: not a regular file", ErrNotEventDatabase)
	case isClaimed(info):
		return s, nil, fmt.Errorf("%w of this process", ErrLocked)
	case info.Size() == 0:
		return s, nil, fmt.Errorf("%w: the file is empty", ErrNotEventDatabase)
	}
	if err := s.checkHeader(ctx); err != nil {
		return s, nil, err
	}
	if err := s.openShared(); err != nil {
		return s, nil, err
	}
	if s.last, err = readState(path); err != nil {
		return s, nil, err
	}
	if s.inUse {
		return s, nil, s.openThroughSQLite(ctx)
	}
	problem, err = s.openAtRest(ctx)
	return s, problem, err
}

func (s *source) openShared() error {
	data, err := os.Open(s.path)
	if err != nil {
		return err
	}
	info, err := data.Stat()
	if err != nil {
		return errors.Join(err, data.Close())
	}
	if !claim(info) {
		keepOpen(data)
		return fmt.Errorf("%w of this process", ErrLocked)
	}
	s.data, s.info = data, info
	shared, err := sqlitelock.Share(data)
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.path, err)
	}
	s.inUse = !shared
	if _, err := os.Stat(s.path + ".lock"); err == nil {
		s.lock = flock.New(s.path+".lock", flock.SetFlag(os.O_RDONLY))
		shared, err := s.lock.TryRLock()
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("lock: %w", err)
		}
		s.inUse = s.inUse || err == nil && !shared
	}
	return s.checkPath()
}

func (s *source) openThroughSQLite(ctx context.Context) error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(s.path + suffix); err != nil {
			return tryAgain(err)
		}
	}
	if err := s.checkMark(ctx); err != nil {
		return err
	}
	db, err := s.open(toolPragmas(), "mode=ro")
	if err != nil {
		return err
	}
	s.db, s.closers = db, append(s.closers, db.Close)
	db.SetMaxOpenConns(1)
	err = db.PingContext(ctx)
	// A restore may have moved the database meanwhile: the WAL is another's.
	if pathErr := s.checkPath(); pathErr != nil {
		return tryAgain(pathErr)
	}
	if resultCode(err) == sqlite3.SQLITE_BUSY {
		return tryAgain(err)
	}
	return err
}

func tryAgain(err error) error {
	return fmt.Errorf("%w: it is starting, stopping or restoring: try again (%w)", ErrLocked, err)
}

func (s *source) checkMark(ctx context.Context) error {
	if s.last == nil {
		return nil
	}
	if m, ok := s.markAt(s.last.markOffset); s.last.markOffset > 0 && ok && s.last.isOf(m.opening) {
		return nil
	}
	if c := s.readContent(ctx); c.err == nil && !s.last.isOf(c.mark.opening) {
		return errReplaced
	}
	return nil
}

func (s *source) openAtRest(ctx context.Context) (problem, err error) {
	if fileSize(s.path+"-journal") > 0 {
		return fmt.Errorf("%s was left by an interrupted transaction of another program: start the server, which rolls it back",
			userpath.ShellQuoted(s.path+"-journal")), nil
	}
	s.before = s.stats()
	x, problem := s.examine(ctx, s.last)
	switch {
	case problem != nil:
		return problem, nil
	case x.mayLackWAL:
		problem = fmt.Errorf("%w, or may be: %s. To use the database nevertheless, start the server with it", ErrEventsMissing, mayLackWAL)
	}
	if !x.stateMatches {
		s.last = nil
	}
	if s.overlay, err = s.openOverlay(x.wal); err != nil {
		return problem, err
	}
	s.closers = append(s.closers, s.overlay.close)
	db, closeDB, err := s.overlay.openDB(ctx)
	if err != nil {
		return problem, err
	}
	s.db, s.closers = db, append(s.closers, closeDB)
	return problem, nil
}

func (s *source) stats() (infos [2]os.FileInfo) {
	for i, suffix := range []string{"", "-wal"} {
		infos[i], _ = os.Stat(s.path + suffix)
	}
	return infos
}

func (s *source) checkUnchanged() error {
	if s.inUse {
		return nil
	}
	for i, now := range s.stats() {
		before := s.before[i]
		if (now == nil) != (before == nil) || now != nil &&
			(!os.SameFile(now, before) || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime())) {
			return errors.New("another program changed the database meanwhile: try again")
		}
	}
	return nil
}

func (s *source) checkAcknowledged(newest int64) error {
	if s.last == nil || newest >= s.last.newest {
		return nil
	}
	return s.eventsMissing(s.last.newest, newest)
}

// close closes the database file last, which releases SQLite's locks.
func (s *source) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	errs = append(errs, s.release())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
