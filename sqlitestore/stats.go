package sqlitestore

import (
	"os"
	"path/filepath"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/files"
)

type checkpointStats struct {
	mu           sync.Mutex
	complete     time.Time // the last checkpoint of the whole WAL
	blockedSince time.Time // by readers; zero if they do not
}

func (s *checkpointStats) checkpointed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete, s.blockedSince = time.Now(), time.Time{}
}

// checkpointBlocked returns since when readers block checkpoints.
func (s *checkpointStats) checkpointBlocked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blockedSince.IsZero() {
		s.blockedSince = time.Now()
	}
	return s.blockedSince
}

// Stats implements [chargeingest.StatsReporter].
func (s *Store) Stats() chargeingest.StoreStats {
	now := s.writer.queue.Stats()
	if wal, err := os.Stat(s.file.path + "-wal"); err == nil { // a closed store has none
		now.WALBytes = wal.Size()
	}
	if database, err := os.Stat(s.file.path); err == nil {
		now.DatabaseBytes = database.Size()
	}
	now.DiskFreeBytes = files.Free(filepath.Dir(s.file.path))
	now.NewestEvent = s.writer.ids.LastTime()
	checkpoints := &s.writer.stats
	checkpoints.mu.Lock()
	defer checkpoints.mu.Unlock()
	now.LastCheckpoint, now.WALBlockedSince = checkpoints.complete, checkpoints.blockedSince
	return now
}
