package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

func (w *writer) currentSession() (*session, error) {
	if err := w.file.check(w.session); err != nil {
		if w.session != nil {
			w.leave(err)
		}
		return nil, err
	}
	if s := w.session; s != nil && (time.Since(s.walSeen) < w.file.walCheckEvery || s.hasWAL(w.file)) {
		return s, nil
	}
	if time.Since(w.reopening.failed) < w.file.reopenEvery {
		return nil, w.reopening.err
	}
	if err := w.reopen(); err != nil {
		w.logger.Error("sqlitestore: the database cannot be reopened", "error", err)
		w.reopening.failed, w.reopening.err = time.Now(), fmt.Errorf("reopen: %w", err)
		return nil, w.reopening.err
	}
	w.logger.Info("sqlitestore: the database was reopened")
	return w.session, nil
}

// reopen locks readers out: they would keep the WAL from being emptied.
func (w *writer) reopen() error {
	w.lockReaders()
	defer w.reading.Unlock()
	w.awaitCheckpoint()
	if err := w.file.check(w.session); err != nil {
		return err
	}
	if w.session != nil {
		if err := w.rescueWAL(); err != nil {
			return err
		}
	}
	s, err := openSession(context.Background(), w.file)
	if err == nil {
		w.session, w.recent = s, s.recent
		w.stats.checkpointed()
	}
	return err
}

// fail ends the session. A failed commit may leave unreadable frames in the WAL, so nothing is
// acknowledged until the database is reopened and the WAL checkpointed.
func (w *writer) fail(cause error) {
	w.logger.Error("sqlitestore: writing stops until the database is reopened", "error", cause)
	w.awaitCheckpoint()
	s := w.session
	w.session = nil
	if err := guarded(s.Close); err != nil {
		w.logger.Warn("sqlitestore: closing the connection after an error failed", "error", err)
	}
}

// leave ends a session whose database is no longer at its path. A renamed database is first
// checkpointed.
func (w *writer) leave(cause error) {
	w.awaitCheckpoint()
	if w.file.isOurs() {
		if _, err := w.session.checkpoint("PASSIVE"); err != nil {
			w.logger.Warn("sqlitestore: the checkpoint of a moved database failed", "error", err)
		}
	}
	w.logger.Error("sqlitestore: the open database is not at its path", "database", w.file.path, "error", cause)
	w.fail(cause)
}

// rescueWAL copies a WAL that was deleted or replaced by hand, but is still open, into the
// database, and ends the session. Lock readers out first.
func (w *writer) rescueWAL() error {
	w.dropReaders() // they have the old file open
	if err := w.session.emptyWAL(); err != nil {
		return fmt.Errorf("the write-ahead log was deleted and cannot be copied into the database: %w", err)
	}
	w.fail(errors.New("the write-ahead log was deleted; its content is in the database"))
	return nil
}

// ready begins a transaction, and after a failure also writes and commits.
func (w *writer) ready() error {
	if w.lastErr == nil {
		return w.transact(func(*session) error { return nil })
	}
	err := w.transact((*session).probeWrite)
	if err == nil {
		w.lastErr = nil
	}
	return err
}

// release checkpoints what it can, and closes the connection. The next Open does the rest.
func (w *writer) release() error {
	w.awaitCheckpoint()
	f, s := w.file, w.session
	if w.stateTimer != nil {
		w.writeState()
	}
	w.session = nil
	if err := f.check(s); err != nil {
		return w.abandon(s, err)
	}
	if s == nil {
		return nil
	}
	if s.hasWAL(f) {
		s.markClosed(f)
		_, err := s.checkpoint("PASSIVE")
		return errors.Join(err, f.closeGuard(), s.Close())
	}
	err := errors.Join(s.emptyWAL(), s.Close(), f.closeGuard())
	if fileSize(f.path+"-wal") > 0 {
		err = errors.Join(err, f.setAside("a foreign write-ahead log"))
	}
	return err
}

// abandon closes a session, if any, whose database is no longer at its path, and keeps the file
// at the path. It returns an error if acknowledged events are only in the WAL.
func (w *writer) abandon(s *session, cause error) error {
	f := w.file
	var err error
	if s != nil {
		if f.isOurs() && f.hasName() { // under its other name
			err = s.emptyWAL()
		}
		err = errors.Join(err, s.Close())
	}
	err = errors.Join(err, f.closeGuard())
	w.logger.Error("sqlitestore: the open database is not at its path; the file at the path is not changed",
		"database", f.path, "error", cause)
	wal, statErr := os.Stat(f.path + "-wal")
	switch ours := statErr == nil && os.SameFile(wal, f.wal); {
	case ours && wal.Size() > 0:
		err = errors.Join(err, f.setAside("the write-ahead log of the previous database"))
	case ours:
		err = errors.Join(err, os.Remove(f.path+"-wal"))
	}
	if !errors.Is(cause, errNotAtPath) {
		err = errors.Join(cause, err)
	}
	return err
}
