package sqlitestore

import (
	"os"
	"sync"
	"time"

	"example.com/chargeingest"
)

// stats is what the writer tells of its work.
type stats struct {
	mu         sync.Mutex
	commits    uint64
	last       chargeingest.CommitStats
	checkpoint time.Time // when the log was last all in the database
	blocked    time.Time // since when readers have kept it from that; zero if they do not
}

func (s *stats) checkpointed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoint, s.blocked = time.Now(), time.Time{}
}

// checkpointBlocked returns since when checkpoints have been blocked.
func (s *stats) checkpointBlocked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked.IsZero() {
		s.blocked = time.Now()
	}
	return s.blocked
}

// observe tells of a transaction. What it did is done, so that a panic of the
// observer is only logged.
func (w *writer) observe(c chargeingest.CommitStats) {
	w.stats.mu.Lock()
	if c.Err == nil {
		w.stats.commits++
	}
	w.stats.last = c
	w.stats.mu.Unlock()
	if w.observer == nil {
		return
	}
	if err := guarded(func() error { w.observer(c); return nil }); err != nil {
		w.logger.Error("sqlitestore: the observer failed", "error", err)
	}
}

// Stats implements [chargeingest.StatsReporter].
func (s *Store) Stats() chargeingest.StoreStats {
	var now chargeingest.StoreStats
	now.QueuedRequests, now.QueuedEvents = s.writer.queue.Depth()
	if log, err := os.Stat(s.file.path + "-wal"); err == nil { // a store that is closed has none
		now.WALBytes = log.Size()
	}
	done := &s.writer.stats
	done.mu.Lock()
	defer done.mu.Unlock()
	now.Commits, now.LastCommit = done.commits, done.last
	now.LastCheckpoint, now.WALBlockedSince = done.checkpoint, done.blocked
	return now
}
