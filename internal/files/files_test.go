package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRenameReplacesNothing(t *testing.T) {
	for name, rename := range map[string]func(from, to string) error{"rename": RenameNew, "link": linkNew} {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		require.NoError(t, os.WriteFile(from, []byte("from"), 0o600))
		require.NoError(t, rename(from, to))
		require.NoFileExists(t, from, name)
		require.NoError(t, os.WriteFile(from, []byte("again"), 0o600))
		require.ErrorIs(t, rename(from, to), fs.ErrExist, name)
		text, err := os.ReadFile(to)
		require.NoError(t, err)
		require.Equal(t, "from", string(text))
	}
}
