package sqlitestore

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/storekit"
)

type writer struct {
	logger    *slog.Logger
	file      *file
	reading   *sync.RWMutex
	ids       *storekit.IDGenerator
	maxEvents int // per transaction
	groupTime time.Duration

	dropReaders func() // closes idle connections
	stats       checkpointStats

	queue   *groupcommit.Queue
	changes changes
	jobs    chan func()
	stopped chan struct{} // closed when the goroutine has ended

	// For the goroutine only:

	leases  map[relay.Stream]lease
	session *session     // nil while nothing can be acknowledged
	recent  *recentIndex // of the last session; changed with readers locked out
	lastErr error        // of a transaction or checkpoint

	stateTimer    <-chan time.Time // set while the state file is behind
	writeStateNow bool             // after a restart of the WAL

	reopening struct { // the last failed attempt
		failed time.Time
		err    error
	}

	checkpoints checkpointer
}

func newWriter(s *Store, first *session) *writer {
	w := &writer{
		logger:      s.options.Logger,
		file:        s.file,
		reading:     &s.reading,
		maxEvents:   s.options.MaxTransactionEvents,
		groupTime:   maxGroupTime,
		changes:     changes{ready: make(chan struct{}, 1)},
		jobs:        make(chan func()),
		stopped:     make(chan struct{}),
		leases:      make(map[relay.Stream]lease),
		session:     first,
		recent:      first.recent,
		checkpoints: newCheckpointer(s.file.drainFrames),
	}
	w.queue = groupcommit.New(s.options.MaxQueuedEvents, s.options.Observer, func(err error) {
		w.logger.Error("sqlitestore: the observer failed", "error", err)
	})
	w.stats.checkpointed()
	return w
}

// run returns when the queue is closed and empty.
func (w *writer) run() {
	defer close(w.stopped)
	defer func() {
		if w.checkpoints.draining {
			w.lockReaders()
			w.reading.Unlock()
		}
	}()
	for open := true; open; {
		select {
		case <-w.queue.Ready():
			open = w.storeNext()
		case <-w.changes.ready:
			select {
			case <-w.queue.Ready():
				open = w.storeNext()
			default:
				w.store(nil, w.changes.take())
			}
		case job := <-w.jobs:
			job()
		case done := <-w.checkpoints.done:
			w.checkpointEnded(done)
		case <-w.checkpoints.drained:
			w.readersDrained()
		case <-w.checkpoints.recheck:
			w.recheckBlocked()
		case <-w.stateTimer:
			w.writeState()
		}
		w.checkpointIfDue()
	}
}

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

// Loading large stored events takes time and memory. A group beyond a limit ends before its
// next request.
const (
	maxGroupTime   = time.Second
	maxLoadedBytes = 16 << 20
)

func (w *writer) storeNext() (open bool) {
	group, open := w.queue.Take(w.maxEvents, nil)
	w.store(group, w.changes.take())
	return open
}

func (w *writer) store(group []*groupcommit.Request, changes []*change) {
	if len(group)+len(changes) == 0 {
		return
	}
	var results []groupcommit.Result
	start := time.Now()
	err := w.transact(func(s *session) error {
		s.loaded = 0
		for i, r := range group {
			if i > 0 && (s.loaded > maxLoadedBytes || time.Since(start) > w.groupTime) {
				break
			}
			stored, err := w.append(s, r.Attempt)
			if err != nil && !groupcommit.IsRejection(err) {
				return requestError{err}
			}
			results = append(results, groupcommit.Result{AppendResult: stored, Err: err})
		}
		for _, c := range changes {
			if err := c.runIn(s); err != nil {
				return requestError{err}
			}
		}
		return nil
	})
	if len(group)+len(changes) > 1 && errors.As(err, new(requestError)) && !endsSession(err) && resultCode(err) != sqlite3.SQLITE_FULL {
		// One request must not fail the others.
		for i := range group {
			w.store(group[i:i+1], nil)
		}
		for i := range changes {
			w.store(nil, changes[i:i+1])
		}
		return
	}
	if err != nil {
		results = append(results, make([]groupcommit.Result, len(group)-len(results))...)
	}
	w.queue.Requeue(group[len(results):])
	group = group[:len(results)]
	commit := chargeingest.CommitStats{Requests: len(group), Duration: time.Since(start), Err: err}
	for i := range results {
		if err != nil {
			results[i] = failedResult(err, results[i].Err)
		}
		for j := range results[i].Outcomes {
			if !results[i].Outcomes[j].Replayed {
				commit.Events++
			}
		}
	}
	if commit.Events > 0 {
		w.lastErr = nil
	}
	if commit.Events > 0 || err != nil {
		w.queue.Observe(commit)
	}
	if err == nil {
		w.noteNewest()
	}
	for i, r := range group {
		r.Finish(results[i])
	}
	for _, c := range changes {
		c.finish(err)
	}
	if len(group) == 1 {
		runtime.Gosched() // a lone caller goes on first
	}
}

func (w *writer) append(s *session, a storekit.Attempt) (result chargeingest.AppendResult, err error) {
	defer panics.RecoverTo(&err) // of Options.Entropy
	return s.append(a, w.ids.Next)
}

// noteNewest schedules a write of the state file. For the first event of a restarted WAL it
// writes before the acknowledgement: otherwise Open could not detect that the WAL was deleted.
func (w *writer) noteNewest() {
	if !w.file.setNewest(w.recent.newest) {
		return
	}
	if w.writeStateNow || w.file.stateEvery == 0 {
		w.writeStateNow = false
		w.writeState()
	} else if w.stateTimer == nil {
		w.stateTimer = time.After(w.file.stateEvery)
	}
}

func (w *writer) writeState() {
	w.stateTimer = nil
	w.file.updateState()
}
