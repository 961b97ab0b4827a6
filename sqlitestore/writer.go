package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// writer is the one goroutine that writes, and its connection.
type writer struct {
	logger  *slog.Logger
	file    *file
	reading *sync.RWMutex // the store's
	ids     *storekit.IDGenerator
	most    int // events in a transaction

	groupTime time.Duration // how long one is added to

	dropReaders func() // closes the connections that nobody reads from
	observer    func(chargeingest.CommitStats)
	stats       stats

	queue   *groupcommit.Queue
	jobs    chan func()
	stopped chan struct{} // closed when the goroutine has ended

	// What follows belongs to the goroutine.

	session *session // nil while nothing can be acknowledged

	stateDue <-chan time.Time // set while the state file is behind
	newLog   bool             // the state file may tell of no event that is in the log
	recent   *recentIndex     // of the last session; changed with readers locked out
	lastErr  error            // of the last transaction

	// reopening is how the last attempt at a new session failed, and when.
	reopening struct {
		failed time.Time
		err    error
	}

	log checkpointer
}

func newWriter(s *Store, first *session) *writer {
	w := &writer{
		logger:    s.options.Logger,
		file:      s.file,
		reading:   &s.reading,
		most:      s.options.MaxTransactionEvents,
		groupTime: groupTime,
		observer:  s.options.Observer,
		queue:     groupcommit.New(s.options.MaxQueuedEvents),
		jobs:      make(chan func()),
		stopped:   make(chan struct{}),
		session:   first,
		recent:    first.recent,
		log:       newCheckpointer(s.file.drainFrames),
	}
	w.stats.checkpointed() // by opening
	return w
}

// run stores what is queued, and runs jobs in between, until the queue is
// closed and empty.
func (w *writer) run() {
	defer close(w.stopped)
	defer func() {
		if w.log.draining {
			w.lockReaders()
			w.reading.Unlock()
		}
	}()
	for open := true; open; {
		select {
		case <-w.queue.Ready():
			var group []*groupcommit.Request
			w.queue.Gather(w.most)
			group, open = w.queue.Take(w.most)
			w.store(group)
		case job := <-w.jobs:
			job()
		case done := <-w.log.done:
			w.checkpointEnded(done)
		case <-w.log.drained:
			w.readersDrained()
		case <-w.log.recheck:
			w.recheckBlocked()
		case <-w.stateDue:
			w.writeState()
		}
		w.checkpointIfDue()
	}
}

// do runs a job on the writer's goroutine and returns its error.
func (w *writer) do(ctx context.Context, job func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	select {
	case w.jobs <- func() { done <- guarded(job) }:
	case <-w.stopped:
		return chargeingest.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Requests that repeat large events load them, which takes time and memory: a group
// that has had its share of these ends before the next request.
const (
	groupTime   = time.Second
	groupLoaded = 16 << 20 // bytes
)

// store stores requests in one transaction and answers them, or the first of them:
// the others wait for their turn again.
func (w *writer) store(group []*groupcommit.Request) {
	if len(group) == 0 {
		return
	}
	var answers []groupcommit.Answer
	start := time.Now()
	err := w.transact(func(s *session) error {
		if err := s.prefetch(group); err != nil {
			return err
		}
		s.loaded = 0
		for i, r := range group {
			if i > 0 && (s.loaded > groupLoaded || time.Since(start) > w.groupTime) {
				break
			}
			receipt, err := w.append(s, r.Attempt)
			if err != nil && !isRefusal(err) {
				return batchError{err}
			}
			answers = append(answers, groupcommit.Answer{Receipt: receipt, Err: err})
		}
		return nil
	})
	var ofBatch batchError
	if len(group) > 1 && errors.As(err, &ofBatch) && !isHarmful(err) && resultCode(err) != sqlite3.SQLITE_FULL {
		// One of them is to blame. The others are not to suffer for it.
		for i := range group {
			w.store(group[i : i+1])
		}
		return
	}
	if err != nil {
		answers = append(answers, make([]groupcommit.Answer, len(group)-len(answers))...)
	}
	w.queue.Return(group[len(answers):])
	group = group[:len(answers)]
	done := chargeingest.CommitStats{Requests: len(group), Duration: time.Since(start), Err: err}
	for i := range answers {
		if err != nil {
			answers[i] = failed(err, answers[i].Err)
		}
		for j := range answers[i].Receipt.Outcomes {
			if !answers[i].Receipt.Outcomes[j].Replayed {
				done.Events++
			}
		}
	}
	if done.Events > 0 {
		w.lastErr = nil
	}
	if done.Events > 0 || err != nil {
		w.observe(done)
	}
	if err == nil {
		w.noteNewest()
	}
	for i, r := range group {
		r.Answer(answers[i])
	}
}

// noteNewest has the newest event written to the state file, at once if the file tells
// of none that is in the log: if that is deleted, it is to be missed.
func (w *writer) noteNewest() {
	if !w.file.acknowledged(w.recent.newest) {
		return
	}
	if w.newLog || w.file.stateEvery == 0 {
		w.newLog = false
		w.writeState()
	} else if w.stateDue == nil {
		w.stateDue = time.After(w.file.stateEvery)
	}
}

func (w *writer) writeState() {
	w.stateDue = nil
	w.file.updateState()
}

// isRefusal says that a batch was decided against before anything was written.
func isRefusal(err error) bool {
	var conflict *chargeingest.ConflictError
	return errors.As(err, &conflict) || errors.Is(err, chargeingest.ErrNotStored)
}

// append is session.append with a panic, most likely one of the host's source
// of entropy, turned into an error.
func (w *writer) append(s *session, a storekit.Attempt) (receipt chargeingest.AppendResult, err error) {
	defer panics.RecoverTo(&err)
	return s.append(a, w.ids.Next)
}

// failed is the answer to a request whose transaction failed with err. One that
// was refused stored nothing in any case, but what it was refused for may have
// gone, too.
func failed(err, refusal error) groupcommit.Answer {
	var unknown unknownError
	var panicked panics.Error
	if refusal == nil && (errors.As(err, &unknown) || errors.As(err, &panicked)) {
		return groupcommit.Answer{Err: fmt.Errorf("sqlitestore: %w: %w", chargeingest.ErrOutcomeUnknown, err)}
	}
	return groupcommit.Answer{Err: notStored(err)}
}

// batchError is the failure of one batch of a transaction.
type batchError struct{ error }

func (e batchError) Unwrap() error { return e.error }

// unknownError says that a transaction may have been committed.
type unknownError struct{ error }

func (e unknownError) Unwrap() error { return e.error }

// guarded returns the error of f, or its panic as one.
func guarded(f func() error) (err error) {
	defer panics.RecoverTo(&err)
	return f()
}

// transact runs f in a transaction. Its error is an unknownError where the
// transaction may have been committed all the same; otherwise it was undone.
// What casts doubt on the connection ends the session.
func (w *writer) transact(f func(*session) error) (err error) {
	defer panics.RecoverTo(&err) // no panic here ends the writer
	s, err := w.open()
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
		known := w.undo(s) && (!committing || isUndone(err))
		if !known || isHarmful(err) {
			w.fail(err)
		}
		if committing && !known {
			err = unknownError{err}
		}
	}()
	defer panics.RecoverTo(&err) // before the transaction is undone
	if _, err := s.begin.exec(); err != nil {
		return err
	}
	mayStartOver := w.file.walMayRestart()
	before, err := s.changes()
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return err
	}
	if err := guarded(s.beforeCommit); err != nil {
		return batchError{err}
	}
	mark, added := w.file.mark, s.recent.hasAdded()
	if mayStartOver || !added || !s.added {
		if mark, err = s.mark(w.file, before); err != nil {
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
	w.newLog = w.newLog || mayStartOver
	s.committed()
	return nil
}

// undo rolls back after an error and says whether no transaction is open any
// more.
func (w *writer) undo(s *session) (done bool) {
	err := guarded(func() error { return s.exec("ROLLBACK") })
	// SQLITE_ERROR says that there is none: the error before had ended it.
	return err == nil || resultCode(err) == sqlite3.SQLITE_ERROR
}

// isUndone says that after this error of a COMMIT nothing was committed.
func isUndone(err error) bool {
	code := resultCode(err)
	return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_BUSY
}

// fail ends the session: nothing is acknowledged until the database was opened
// anew and its log moved into it. What the failed commit left there, and
// whether it can be read back at all, is not known.
func (w *writer) fail(cause error) {
	w.logger.Error("sqlitestore: writing stops until the database is opened anew", "error", cause)
	w.awaitCheckpoint()
	s := w.session
	w.session = nil
	if err := guarded(s.Close); err != nil {
		w.logger.Warn("sqlitestore: close after an error", "error", err)
	}
}

// leave ends a session whose database is not at its path any more. If the open
// file still has it, under another name, the log is moved into it.
func (w *writer) leave(cause error) {
	w.awaitCheckpoint()
	if w.file.isOurs() {
		if _, err := w.session.checkpoint("PASSIVE"); err != nil {
			w.logger.Warn("sqlitestore: the write-ahead log cannot be moved into the database", "error", err)
		}
	}
	w.logger.Error("sqlitestore: the database that was open is not at its path", "database", w.file.path, "error", cause)
	w.fail(cause)
}

// open returns the session, a new one where the last one failed.
func (w *writer) open() (*session, error) {
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
		w.logger.Error("sqlitestore: the database cannot be opened anew", "error", err)
		w.reopening.failed, w.reopening.err = time.Now(), fmt.Errorf("open anew: %w", err)
		return nil, w.reopening.err
	}
	w.logger.Info("sqlitestore: the database was opened anew")
	return w.session, nil
}

// reopen makes a session. A reader would keep the log from being emptied.
func (w *writer) reopen() error {
	w.lockReaders()
	defer w.reading.Unlock()
	w.awaitCheckpoint()
	if err := w.file.check(w.session); err != nil {
		return err
	}
	if w.session != nil {
		if err := w.rescueLog(); err != nil {
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

// rescueLog ends a session whose log was deleted or replaced, which somebody
// did by hand. The session still has it open, and all of it goes into the
// database; what would be written there now would be lost when it is closed.
// MaxReaders are locked out.
func (w *writer) rescueLog() error {
	w.dropReaders() // they have the old log open, too
	if err := w.session.emptyWAL(); err != nil {
		return fmt.Errorf("the write-ahead log was deleted; what it has cannot be moved: %w", err)
	}
	w.fail(errors.New("the write-ahead log was deleted; what it had was moved into the database"))
	return nil
}

// ready returns nil where a transaction can be expected to succeed. After one
// that failed it writes and syncs; else it only starts to.
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

// release moves what it can of the log, and closes the connection.
func (w *writer) release() error {
	w.awaitCheckpoint()
	f, s := w.file, w.session
	if w.stateDue != nil {
		w.writeState()
	}
	w.session = nil
	if err := f.check(s); err != nil {
		return w.abandon(s, err)
	}
	if s == nil {
		return nil // the log is there when it is opened
	}
	if s.hasWAL(f) {
		s.markClosed(f)
		_, err := s.checkpoint("PASSIVE") // the rest is there when it is opened
		return errors.Join(err, f.closeGuard(), s.Close())
	}
	err := errors.Join(s.emptyWAL(), s.Close(), f.closeGuard())
	if fileSize(f.path+"-wal") > 0 {
		err = errors.Join(err, w.setAside("a write-ahead log that was put there"))
	}
	return err
}

// abandon closes a session, which may be nil, whose database is not at its path
// any more, without a change to the file that is there. That is an error if events were
// acknowledged that are only in the log.
func (w *writer) abandon(s *session, cause error) error {
	f := w.file
	var err error
	if s != nil {
		if f.isOurs() && f.hasName() { // it is to be whole under its other name
			err = s.emptyWAL()
		}
		err = errors.Join(err, s.Close())
	}
	err = errors.Join(err, f.closeGuard())
	w.logger.Error("sqlitestore: the database that was open is not at its path; the file that is there stays as it is",
		"database", f.path, "error", cause)
	log, statErr := os.Stat(f.path + "-wal")
	switch ours := statErr == nil && os.SameFile(log, f.wal); {
	case ours && log.Size() > 0:
		err = errors.Join(err, w.setAside("the write-ahead log of the database that was there before"))
	case ours:
		err = errors.Join(err, os.Remove(f.path+"-wal"))
	}
	if !errors.Is(cause, errNotAtPath) {
		err = errors.Join(cause, err)
	}
	return err
}

func (w *writer) setAside(what string) error {
	aside, err := w.file.setAside()
	if err != nil {
		return fmt.Errorf("move %s away: %w", what, err)
	}
	w.logger.Error("sqlitestore: "+what+" was moved away", "database", w.file.path, "moved to", aside)
	return nil
}
