package sqlitestore

import (
	"fmt"
	"time"
)

// The write-ahead log is moved into the database, so that it can be started
// over, in two steps. First, on a connection and a goroutine of its own, beside
// the transactions, all that is there. Then, between two transactions, the
// little that has come meanwhile: only a log of which nothing is left is
// started over. So no append waits for more than that little.

// logWork is what the writer knows of that. It belongs to its goroutine.
type checkpointer struct {
	// underWay says that a checkpoint runs beside the transactions; it is then
	// sent on done.
	running bool
	done    chan checkpointResult

	newFrames  int64 // frames that came while the last checkpoint ran; 0 for none yet
	doneFrames int64 // frames of the log that the last checkpoint had to do with
	drainAt    int64 // frames of the log at which readers pause

	// draining says that a goroutine is waiting for the last reader to end. It
	// sends on drained once it has locked reading; the lock is the writer's then.
	draining bool
	drained  chan struct{}

	recheck  <-chan time.Time // set while readers block checkpoints
	reported time.Time        // when that was last logged
}

// checkpointed is what came of a checkpoint.
type checkpointResult struct {
	state walState
	err   error
}

func newCheckpointer(drainAt int64) checkpointer {
	return checkpointer{drainAt: drainAt, done: make(chan checkpointResult, 1), drained: make(chan struct{}, 1)}
}

// settleLog starts a checkpoint where the log has grown enough for one.
func (w *writer) checkpointIfDue() {
	if w.session == nil || w.log.running {
		return
	}
	state, err := w.session.walState()
	if state.frames < w.log.doneFrames {
		w.log.doneFrames = 0 // it was started over
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

// awaitCheckpoint waits for a checkpoint that is under way, whatever comes of it.
func (w *writer) awaitCheckpoint() {
	if w.log.running {
		<-w.log.done
		w.log.running = false
	}
}

// checkpointed goes on from a checkpoint that ran beside the transactions.
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

// again says whether to move what came during a checkpoint beside the
// transactions, too: it is more than a little, and each time less than half of
// what came the time before.
func (l *checkpointer) again(frames, few int64) bool {
	last := l.newFrames
	l.newFrames = 0
	if frames <= few || last > 0 && frames > last/2 {
		return false
	}
	l.newFrames = frames
	return true
}

// finishLog moves the rest of the log between two transactions.
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
	if state.busy != 0 { // with a checkpoint of another program; nothing is known
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

// logBlocked reports readers that keep a part of the log from the database for
// long, and arranges for the next attempt, which may be the only one if nothing
// more is stored.
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
	w.logger.Warn("sqlitestore: the write-ahead log only grows; a transaction is left open, such as in a sqlite3 shell or by a backup",
		"pages", frames, "since", since)
}

// recheckLog tries again whether readers block checkpoints.
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

// drainReaders makes the store's own readers pause where they have kept the log
// from being started over for long. Nobody waits for them.
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

// readersEnded uses the moment in which nobody reads.
func (w *writer) readersDrained() {
	w.log.draining = false
	w.awaitCheckpoint()
	if w.session != nil {
		w.finishCheckpoint()
	}
	w.reading.Unlock()
}

// lockReaders waits for those who read and keeps others out.
func (w *writer) lockReaders() {
	if !w.log.draining {
		w.reading.Lock()
		return
	}
	<-w.log.drained
	w.log.draining = false
}
