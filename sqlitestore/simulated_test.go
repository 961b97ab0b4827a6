package sqlitestore

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

type simulation struct {
	*servers
	plan diskPlan // of the next disk only
	disk *diskModel
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	s := &simulation{servers: newServers(t, seed, filepath.Join(t.TempDir(), "charges.db"))}
	s.launch = func(t *testing.T, k kill) (*server, error) {
		plan := s.plan
		plan.cutAt = k.Nth
		s.plan = diskPlan{}
		return s.serve(t, plan)
	}
	return s
}

func (l *simulation) serve(t *testing.T, plan diskPlan) (*server, error) {
	m, err := newDiskModel(l.path, rand.New(rand.NewPCG(l.random.Uint64(), 2)), plan, func() {
		l.history.IgnoreResponses()
		require.NoError(t, l.acks.ignore())
	}, l.disk)
	if err != nil {
		return nil, err
	}
	l.disk = m
	disks.Store(l.path, disk(m.operate))
	quiet := slog.New(slog.DiscardHandler)
	tuning := busyTuning()
	tuning.onStateSynced = m.stateSynced
	var journal *journaled
	store, err := open(context.Background(), l.path, Options{Logger: quiet}, tuning)
	if err == nil {
		journal, err = newJournaled(context.Background(), store, l.acks)
	}
	if err != nil {
		m.stop()
		disks.Delete(l.path)
		if m.cut {
			err = errors.Join(err, m.restore())
		}
		return nil, errors.Join(crashtest.ErrEnded, err)
	}
	h, err := crashtest.NewHandler(journal, quiet)
	if err != nil {
		return nil, err
	}
	srv := httptest.NewServer(h)
	end := sync.OnceValue(func() error {
		srv.Close()
		err := store.Close()
		disks.Delete(l.path)
		return err
	})
	kill := sync.OnceFunc(func() {
		m.stop()
		_ = end()
		requireNoOpenFiles(t, l.path)
		if m.cut {
			require.NoError(t, m.restore())
		}
	})
	t.Cleanup(func() { _ = end() })
	return &server{srv.URL, m.ended, kill, end, func() string { return "" }}, nil
}

func TestPartialUnsyncedWrites(t *testing.T) {
	t.Parallel()
	first := seed(t)
	for n := rounds(40); n > 0; n -= perDatabase {
		l := newSimulation(t, first+uint64(n))
		for range min(n, perDatabase) {
			l.resolve(t, l.moment())
			l.traffic(t, 1+l.random.IntN(100), l.kill)
			require.Positive(t, l.disk.ops)
			l.rearrange(t)
		}
		l.finish(t)
		require.Positive(t, l.history.Count("stored"))
	}
}

func TestReplayOfUnsyncedEventIsSynced(t *testing.T) {
	t.Parallel()
	first := seed(t)
	for n, replayed := uint64(0), 0; replayed < 10; n++ {
		require.Less(t, n, uint64(100), "nothing is returned as a replay")
		l := newSimulation(t, first+n)
		l.clients = l.clients[:1]
		l.plan.dieAt = 20 + l.random.IntN(50) // after those of opening
		l.start(t, kill{})
		l.traffic(t, 1<<20, l.kill)
		before := l.history.Count("replayed")
		l.resolve(t, kill{})
		replayed += l.history.Count("replayed") - before
		l.kill()
		l.finish(t)
	}
}

func TestFailingSyncs(t *testing.T) { testFailing(t, "sync", 1) }

func TestFailingWrites(t *testing.T) {
	step := 11
	if *roundsFlag > 0 {
		step = 1
	}
	testFailing(t, "write", step)
}

func testFailing(t *testing.T, what string, step int) {
	t.Parallel()
	first := seed(t)
	for name, failFor := range map[string]int{"once": 1, "forever": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			failAt := 1
			for ; ; failAt += step {
				l := newSimulation(t, first+uint64(failAt))
				l.plan = diskPlan{failing: what, failAt: failAt, failFor: failFor}
				started, err := l.launch(t, kill{})
				if err == nil {
					l.server = started
					l.traffic(t, 30, l.kill)
				}
				hit := l.disk.matched >= failAt
				require.True(t, hit || l.disk.matched > 0)
				l.finish(t)
				if !hit {
					require.NoError(t, err)
					break
				}
			}
			t.Logf("every %s was failed up to number %d, in steps of %d", what, failAt-step, step)
		})
	}
}
