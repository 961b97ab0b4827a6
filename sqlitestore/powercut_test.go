package sqlitestore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func TestPowerCutLosesNothing(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	for n := rounds(10); n > 0; n -= perDatabase {
		dir := d.path(fmt.Sprint("rounds-", n))
		require.NoError(t, os.Mkdir(dir, 0o700))
		l := newProcesses(t, first+uint64(n), filepath.Join(dir, "charges.db"))
		for range min(n, perDatabase) {
			l.resolve(t, l.moment())
			l.traffic(t, 1+l.random.IntN(200), func() { l.cut(t, d) })
			l.rearrange(t)
			d.sync(t)
		}
		l.finish(t)
		require.Positive(t, l.history.Count("stored"))
		require.NoError(t, os.RemoveAll(dir))
	}
}

func (l *servers) cut(t *testing.T, d *powerDisk) {
	l.history.IgnoreResponses()
	require.NoError(t, l.acks.ignore())
	d.cut(t)
	l.kill()
	d.restore(t)
}

func TestPowerCutLosesUnsyncedEvents(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	for n := range uint64(5) {
		l := newProcesses(t, first+n, d.path(fmt.Sprint(n)))
		l.launch = func(t *testing.T, k kill) (*server, error) {
			return launchProcess(t, childSpec{Path: l.path, Kill: k, Normal: true})
		}
		l.start(t, kill{})
		l.traffic(t, 150, func() { l.cut(t, d) })
		started, err := l.launch(t, kill{})
		if err != nil {
			require.ErrorContains(t, err, ErrEventsMissing.Error())
			return
		}
		l.server = started
		stored, err := crashtest.List(t.Context(), l.address)
		require.NoError(t, err, l.log())
		err = l.history.Check(stored)
		l.kill()
		if err != nil {
			require.ErrorContains(t, err, "LOST")
			return
		}
	}
	t.Fatal("a store that syncs no commit lost nothing")
}

func TestReplayOfUnsyncedEventSurvivesPowerCut(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	replayed := 0
	for n := uint64(0); replayed < 3; n++ {
		require.Less(t, n, uint64(50), "nothing is returned as a replay")
		l := newProcesses(t, first+n, d.path(fmt.Sprint(n)))
		l.clients = l.clients[:1]
		// The blocks of a restarted WAL are allocated, so no other sync includes them.
		l.start(t, kill{Kind: "sync", File: "wal", Nth: 60 + l.random.IntN(60), Serving: true})
		l.traffic(t, 1<<20, l.kill)
		before := l.history.Count("replayed")
		l.resolve(t, kill{})
		replayed += l.history.Count("replayed") - before
		l.cut(t, d)
		l.finish(t)
	}
}
