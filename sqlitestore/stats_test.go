package sqlitestore

import (
	"bytes"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/chargeingest"
)

func TestStatsOfAGroup(t *testing.T) {
	commits := make(chan chargeingest.CommitStats, 10)
	setup := newSetup(t)
	setup.options.Observer = func(c chargeingest.CommitStats) { commits <- c }
	s := setup.open(t)

	release := hold(s)
	first := send(t.Context(), s, charges("acme", "a", "b"))
	second := send(t.Context(), s, charges("globex", "a"))
	stats := s.Stats()
	require.Equal(t, 2, stats.QueuedRequests)
	require.Equal(t, 3, stats.QueuedEvents)
	require.Zero(t, stats.Commits)
	require.Zero(t, stats.WALBytes, "it was emptied by Open")
	release()
	require.NoError(t, (<-first).Err)
	require.NoError(t, (<-second).Err)

	commit := <-commits
	require.Equal(t, 2, commit.Requests)
	require.Equal(t, 3, commit.Events)
	require.Positive(t, commit.Duration)
	require.NoError(t, commit.Err)
	stats = s.Stats()
	require.Equal(t, commit, stats.LastCommit)
	require.EqualValues(t, 1, stats.Commits)
	require.Zero(t, stats.QueuedRequests)
	require.Zero(t, stats.QueuedEvents)
	require.Positive(t, stats.WALBytes)
	require.Positive(t, stats.DatabaseBytes)
	require.WithinDuration(t, received(), stats.NewestEvent, time.Second)
	if runtime.GOOS == "linux" {
		require.NotNil(t, stats.FreeBytes)
		require.Positive(t, *stats.FreeBytes)
	}

	replayed(t, s, charges("globex", "a"))
	appended(t, s, charges("globex", "a", "c"))
	require.Equal(t, 1, (<-commits).Events, "a replay alone is not observed")
	require.EqualValues(t, 2, s.Stats().Commits)
}

func TestStatsOfAFailedCommit(t *testing.T) {
	commits := make(chan chargeingest.CommitStats, 10)
	setup := newSetup(t)
	setup.options.Observer = func(c chargeingest.CommitStats) { commits <- c }
	s := setup.open(t)
	setup.faults.on("COMMIT", resultError(sqlite3.SQLITE_FULL))
	_, err := s.Append(t.Context(), charges("acme", "a"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	commit := <-commits
	require.Error(t, commit.Err)
	require.Zero(t, commit.Events)
	require.Zero(t, s.Stats().Commits)
	require.Error(t, s.Stats().LastCommit.Err)
}

func TestLastCheckpoint(t *testing.T) {
	setup := newSetup(t)
	setup.tuning.checkpointFrames = 1
	s := setup.open(t)
	opened := s.Stats().LastCheckpoint
	require.WithinDuration(t, time.Now(), opened, time.Minute)
	for i := 0; s.Stats().LastCheckpoint.Equal(opened); i++ {
		fresh(t, s, charges("acme", numbered(i + 1)[i]))
	}
	require.True(t, s.Stats().LastCheckpoint.After(opened))
}

func TestPanickingObserver(t *testing.T) {
	var log bytes.Buffer
	setup := newSetup(t)
	setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	setup.options.Observer = func(chargeingest.CommitStats) { panic("no more metrics") }
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	fresh(t, s, charges("acme", "b"))
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "no more metrics")
}

func TestConcurrentStats(t *testing.T) {
	s := newSetup(t).open(t)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 100 {
				s.Stats()
			}
		})
	}
	for _, reference := range numbered(20) {
		fresh(t, s, charges("acme", reference))
	}
	asking.Wait()
	require.NoError(t, s.Close())
	stats := s.Stats()
	require.Zero(t, stats.WALBytes)
	require.EqualValues(t, 20, stats.Commits)
}
