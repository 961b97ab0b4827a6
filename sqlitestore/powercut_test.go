package sqlitestore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func TestAPowerCutLosesNothing(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	for n := rounds(10); n > 0; n -= perDatabase {
		folder := d.path(fmt.Sprint("rounds-", n))
		require.NoError(t, os.Mkdir(folder, 0o700))
		l := newProcesses(first+uint64(n), filepath.Join(folder, "charges.db"))
		for range min(n, perDatabase) {
			l.resolve(t, l.moment())
			l.traffic(t, 1+l.random.IntN(200), func() { l.cut(t, d) })
			l.rearrange(t)
			d.sync(t) // an operator who cuts the power before that is on their own
		}
		l.finish(t)
		require.Positive(t, l.history.Count("stored"))
		require.NoError(t, os.RemoveAll(folder)) // the disk is small
	}
}

// cut takes the power away and gives it back. It stays dark until the next
// process is there.
func (l *lives) cut(t *testing.T, d *powerDisk) {
	l.history.Darken()
	d.cut(t)
	l.kill()
	d.restore(t)
}

// TestAPowerCutLosesWhatIsNotSynced shows that the other tests would see it if
// something were lost.
func TestAPowerCutLosesWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	for n := range uint64(5) { // hardly ever more than one
		l := newProcesses(first+n, d.path(fmt.Sprint(n)))
		l.launch = func(t *testing.T, k kill) (*life, error) {
			return launchProcess(t, childSpec{Path: l.path, Kill: k, Normal: true})
		}
		l.start(t, kill{})
		l.traffic(t, 150, func() { l.cut(t, d) })
		started, err := l.launch(t, kill{})
		if err != nil { // the store may notice it, too
			require.ErrorContains(t, err, ErrEventsMissing.Error())
			return
		}
		l.life = started
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

// TestAReplayOfWhatWasNotSyncedOutlivesAPowerCut kills a process between the
// write of a commit and its sync. The events are there afterwards, and whoever
// sends them again is told so: from then on they have to stay. Nothing else is
// sent, whose sync could be theirs, too.
func TestAReplayOfWhatWasNotSyncedOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	first := seed(t)
	replayed := 0
	for n := uint64(0); replayed < 3; n++ {
		require.Less(t, n, uint64(50), "nothing is answered as a replay")
		l := newProcesses(first+n, d.path(fmt.Sprint(n)))
		l.clients = l.clients[:1]
		// The log was started over by then: it is written to where it has its
		// place on the disk, so that no sync of anything else is its sync, too.
		l.start(t, kill{What: "sync", File: "log", Nth: 60 + l.random.IntN(60), Serving: true})
		l.traffic(t, 1<<20, l.kill)
		before := l.history.Count("replayed")
		l.resolve(t, kill{})
		replayed += l.history.Count("replayed") - before
		l.cut(t, d)
		l.finish(t)
	}
}
