package sqlitestore

import (
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
)

type requestError struct{ error }

func (e requestError) Unwrap() error { return e.error }

// unknownError means that the transaction may be committed.
type unknownError struct{ error }

func (e unknownError) Unwrap() error { return e.error }

// failedResult turns a rejection into ErrNotStored: the event that it conflicts with may be
// rolled back, too.
func failedResult(err, rejection error) groupcommit.Result {
	if rejection == nil && (errors.As(err, new(unknownError)) || errors.As(err, new(panics.Error))) {
		return groupcommit.Result{Err: fmt.Errorf("sqlitestore: %w", groupcommit.OutcomeUnknown(err))}
	}
	return groupcommit.Result{Err: notStored(err)}
}

func guarded(f func() error) (err error) {
	defer panics.RecoverTo(&err)
	return f()
}

// transact runs f in a transaction. An unknownError means that a failed commit may be stored.
// An error that casts doubt on the connection ends the session.
func (w *writer) transact(f func(*session) error) (err error) {
	defer panics.RecoverTo(&err) // no panic ends the writer
	s, err := w.currentSession()
	if err != nil {
		return err
	}
	committing := false
	defer func() {
		if err == nil {
			return
		}
		w.lastErr = err
		s.rolledBack()
		rolledBack := w.rollBack(s) && (!committing || isRolledBack(err))
		if !rolledBack || endsSession(err) {
			w.fail(err)
		}
		if committing && !rolledBack {
			err = unknownError{err}
		}
	}()
	defer panics.RecoverTo(&err) // before the rollback
	if _, err := s.begin.exec(); err != nil {
		return err
	}
	s.changed = false // BEGIN returns an earlier count
	mayRestart := w.file.walMayRestart()
	if err := f(s); err != nil {
		return err
	}
	if err := guarded(s.beforeCommit); err != nil {
		return requestError{err}
	}
	mark, added := w.file.mark, s.recent.addedEvents() > 0
	if (added || s.changed) && (mayRestart || !added || !s.added) {
		mark = w.file.nextMark(s.recent.newest)
		if _, err := s.setMark.exec(mark.encode()); err != nil {
			return err
		}
	}
	committing = true
	if _, err := s.commit.exec(); err != nil {
		return err
	}
	if added || mark != w.file.mark {
		s.added = added
	}
	w.file.mark = mark
	w.writeStateNow = w.writeStateNow || mayRestart
	s.committed()
	return nil
}

func (w *writer) rollBack(s *session) bool {
	err := guarded(func() error { return s.exec("ROLLBACK") })
	// SQLITE_ERROR: there is no transaction any more.
	return err == nil || resultCode(err) == sqlite3.SQLITE_ERROR
}

// isRolledBack reports whether a failed COMMIT committed nothing.
func isRolledBack(err error) bool {
	code := resultCode(err)
	return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_BUSY
}
