package sqlitestore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
)

func TestRestorePowerCutAtEachStep(t *testing.T) {
	t.Parallel()
	d := newPowerDisk(t)
	for n, ended := 1, false; !ended; n++ {
		dir := d.path(fmt.Sprint(n))
		require.NoError(t, os.Mkdir(dir, 0o700))
		r := newRestoring(t, dir)
		d.sync(t)
		_, err := crashtest.Start(t.Context(), childSpec{Path: r.path, Restore: r.backup, Kill: kill{Nth: n}, Disk: d.dir})
		if ended = isEnded(err); ended {
			d.cut(t)
		}
		d.restore(t)
		after := copyDir(t, dir)
		command(t, "rm", "-r", dir)
		r.path, r.backup = filepath.Join(after, "charges.db"), filepath.Join(after, "backup.db")
		if found := r.requireComplete(t); ended {
			require.Equal(t, "new", found)
		}
		r.requireRestorable(t)
	}
}
