package sqlitestore

import (
	"fmt"
	"time"
)

// A checkpoint first moves WAL frames into the database while transactions continue. Then it
// moves the few new frames between two transactions, which delays appends: SQLite restarts only
// a WAL that was moved completely.

// checkpointer belongs to the writer's goroutine.
type checkpointer struct {
	running bool
	done    chan checkpointResult

	newFrames  int64
	doneFrames int64
	drainAt    int64

	draining bool
	drained  chan struct{}

	recheck  <-chan time.Time // set while readers block checkpoints, and after a failure
	retryAt  time.Time
	reported time.Time
}

type checkpointResult struct {
	state walState
	err   error
}

func newCheckpointer(drainAt int64) checkpointer {
	return checkpointer{drainAt: drainAt, done: make(chan checkpointResult, 1), drained: make(chan struct{}, 1)}
}

func (w *writer) checkpointIfDue() {
	if w.session == nil || w.checkpoints.running || !w.checkpoints.retryAt.IsZero() && time.Now().Before(w.checkpoints.retryAt) {
		return
	}
	state, err := w.session.walState()
	if state.frames < w.checkpoints.doneFrames {
		w.checkpoints.doneFrames = 0
	}
	switch {
	case err != nil:
		w.checkpointFailed(err)
	case state.frames-w.checkpoints.doneFrames >= w.file.checkpointFrames:
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
	w.checkpoints.running = true
	conn := w.session.checkpointConn
	go func() {
		state, err := conn.checkpoint("PASSIVE")
		w.checkpoints.done <- checkpointResult{state, err}
	}()
}

func (w *writer) awaitCheckpoint() {
	if w.checkpoints.running {
		<-w.checkpoints.done
		w.checkpoints.running = false
	}
}

func (w *writer) checkpointEnded(done checkpointResult) {
	w.checkpoints.running = false
	if done.err != nil {
		w.checkpointFailed(done.err)
		return
	}
	state, err := w.session.walState()
	if err != nil {
		w.checkpointFailed(err)
		return
	}
	if w.checkpoints.shouldRepeat(state.frames-done.state.frames, w.file.checkpointFrames/4) {
		w.startCheckpoint()
	} else {
		w.finishCheckpoint()
	}
}

// shouldRepeat reports whether the first step left many frames, but at most half as many as
// before.
func (c *checkpointer) shouldRepeat(frames, few int64) bool {
	last := c.newFrames
	c.newFrames = 0
	if frames <= few || last > 0 && frames > last/2 {
		return false
	}
	c.newFrames = frames
	return true
}

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
		w.checkpoints.recheck = time.After(w.file.recheckEvery)
		return
	}
	w.checkpoints.doneFrames = state.frames
	if state.checkpointed < state.frames {
		w.drainReaders(state.frames)
		w.reportBlocked(state.frames)
		return
	}
	w.checkpoints.recheck, w.checkpoints.retryAt = nil, time.Time{}
	w.checkpoints.drainAt = w.file.drainFrames
	w.file.noteCheckpoint()
	w.stats.checkpointed()
}

func (w *writer) reportBlocked(frames int64) {
	since := w.stats.checkpointBlocked()
	if w.checkpoints.recheck == nil {
		w.checkpoints.recheck = time.After(w.file.recheckEvery)
	}
	long := time.Since(since) >= w.file.reportEvery || frames >= w.file.drainFrames
	if !long || !w.checkpoints.reported.IsZero() && time.Since(w.checkpoints.reported) < w.file.reportEvery {
		return
	}
	w.checkpoints.reported = time.Now()
	w.logger.Warn("sqlitestore: the write-ahead log keeps growing because a transaction is left open, for example in a sqlite3 shell or by a backup",
		"pages", frames, "since", since)
}

func (w *writer) recheckBlocked() {
	w.checkpoints.recheck = nil
	if w.session != nil && !w.checkpoints.running {
		w.startCheckpoint()
	}
}

func (w *writer) checkpointFailed(err error) {
	w.lastErr = err
	if endsSession(err) {
		w.fail(fmt.Errorf("checkpoint: %w", err))
		return
	}
	w.checkpoints.recheck = time.After(w.file.recheckEvery)
	w.checkpoints.retryAt = time.Now().Add(w.file.recheckEvery)
	w.logger.Warn("sqlitestore: the write-ahead log cannot be moved into the database", "error", err, "retry_in", w.file.recheckEvery)
}

// drainReaders locks readers out in another goroutine, so that the writer does not wait. A
// value on drained passes the lock to the writer: to readersDrained or lockReaders.
func (w *writer) drainReaders(frames int64) {
	if frames < w.checkpoints.drainAt || w.checkpoints.draining {
		return
	}
	w.checkpoints.drainAt = frames + w.file.drainFrames
	w.checkpoints.draining = true
	go func() {
		w.reading.Lock()
		w.checkpoints.drained <- struct{}{}
	}()
}

func (w *writer) readersDrained() {
	w.checkpoints.draining = false
	w.awaitCheckpoint()
	if w.session != nil {
		w.finishCheckpoint()
	}
	w.reading.Unlock()
}

func (w *writer) lockReaders() {
	if !w.checkpoints.draining {
		w.reading.Lock()
		return
	}
	<-w.checkpoints.drained
	w.checkpoints.draining = false
}
