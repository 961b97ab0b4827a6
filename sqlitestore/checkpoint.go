package sqlitestore

import (
	"fmt"
	"time"
)

// The first step of a checkpoint moves the frames of the WAL into the database during
// transactions, on its own connection. The second step moves the few new frames between two
// transactions, because SQLite restarts only a WAL that was moved completely. Only the second
// step delays appends.

// checkpointer belongs to the writer's goroutine.
type checkpointer struct {
	// set during the first step, whose result is sent on done
	running bool
	done    chan checkpointResult

	newFrames  int64 // added during the last first step
	doneFrames int64 // in the WAL at the last second step
	drainAt    int64 // frames at which readers pause

	// draining is set while a goroutine waits for the last reader, to lock reading for the
	// writer.
	draining bool
	drained  chan struct{}

	recheck  <-chan time.Time // set while readers block checkpoints
	reported time.Time        // last log record
}

type checkpointResult struct {
	state walState
	err   error
}

func newCheckpointer(drainAt int64) checkpointer {
	return checkpointer{drainAt: drainAt, done: make(chan checkpointResult, 1), drained: make(chan struct{}, 1)}
}

func (w *writer) checkpointIfDue() {
	if w.session == nil || w.log.running {
		return
	}
	state, err := w.session.walState()
	if state.frames < w.log.doneFrames {
		w.log.doneFrames = 0 // SQLite restarted the WAL
	}
	switch {
	case err != nil:
		w.checkpointFailed(err)
	case state.frames-w.log.doneFrames >= w.file.checkpointFrames:
		w.startCheckpoint()
	case state.checkpointed < state.frames:
		w.drainReaders(state.frames)
	}
}

func (w *writer) startCheckpoint() {
	if err := w.file.check(w.session); err != nil {
		w.leave(err)
		return
	}
	w.log.running = true
	conn := w.session.checkpointConn
	go func() {
		state, err := conn.checkpoint("PASSIVE")
		w.log.done <- checkpointResult{state, err}
	}()
}

func (w *writer) awaitCheckpoint() {
	if w.log.running {
		<-w.log.done
		w.log.running = false
	}
}

// checkpointEnded follows the first step.
func (w *writer) checkpointEnded(done checkpointResult) {
	w.log.running = false
	if done.err != nil {
		w.checkpointFailed(done.err)
		return
	}
	state, err := w.session.walState()
	if err != nil {
		w.checkpointFailed(err)
		return
	}
	if w.log.again(state.frames-done.state.frames, w.file.checkpointFrames/4) {
		w.startCheckpoint()
	} else {
		w.finishCheckpoint()
	}
}

// again reports whether to repeat the first step: the new frames are many, but fewer than half
// of the previous ones.
func (l *checkpointer) again(frames, few int64) bool {
	last := l.newFrames
	l.newFrames = 0
	if frames <= few || last > 0 && frames > last/2 {
		return false
	}
	l.newFrames = frames
	return true
}

// finishCheckpoint is the second step.
func (w *writer) finishCheckpoint() {
	if err := w.file.check(w.session); err != nil {
		w.leave(err)
		return
	}
	state, err := w.session.checkpoint("PASSIVE")
	if err != nil {
		w.checkpointFailed(err)
		return
	}
	if state.busy != 0 { // another program runs a checkpoint
		w.log.recheck = time.After(w.file.recheckEvery)
		return
	}
	w.log.doneFrames = state.frames
	if state.checkpointed < state.frames {
		w.drainReaders(state.frames)
		w.reportBlocked(state.frames)
		return
	}
	w.log.recheck = nil
	w.log.drainAt = w.file.drainFrames
	w.file.noteCheckpoint()
	w.stats.checkpointed()
}

// reportBlocked also schedules the next attempt, in case no event follows.
func (w *writer) reportBlocked(frames int64) {
	since := w.stats.checkpointBlocked()
	if w.log.recheck == nil {
		w.log.recheck = time.After(w.file.recheckEvery)
	}
	long := time.Since(since) >= w.file.reportEvery || frames >= w.file.drainFrames
	if !long || !w.log.reported.IsZero() && time.Since(w.log.reported) < w.file.reportEvery {
		return
	}
	w.log.reported = time.Now()
	w.logger.Warn("sqlitestore: the write-ahead log keeps growing because a transaction is left open, for example in a sqlite3 shell or by a backup",
		"pages", frames, "since", since)
}

func (w *writer) recheckBlocked() {
	w.log.recheck = nil
	if w.session != nil && !w.log.running {
		w.startCheckpoint()
	}
}

func (w *writer) checkpointFailed(err error) {
	w.lastErr = err
	if isHarmful(err) {
		w.fail(fmt.Errorf("checkpoint: %w", err))
	} else {
		w.logger.Warn("sqlitestore: the write-ahead log cannot be moved into the database", "error", err)
	}
}

// drainReaders does not wait for the readers.
func (w *writer) drainReaders(frames int64) {
	if frames < w.log.drainAt || w.log.draining {
		return
	}
	w.log.drainAt = frames + w.file.drainFrames
	w.log.draining = true
	go func() {
		w.reading.Lock()
		w.log.drained <- struct{}{}
	}()
}

func (w *writer) readersDrained() {
	w.log.draining = false
	w.awaitCheckpoint()
	if w.session != nil {
		w.finishCheckpoint()
	}
	w.reading.Unlock()
}

func (w *writer) lockReaders() {
	if !w.log.draining {
		w.reading.Lock()
		return
	}
	<-w.log.drained
	w.log.draining = false
}
