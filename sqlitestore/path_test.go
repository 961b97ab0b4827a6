package sqlitestore

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPathsWithControlCharacters(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	before := names(t, setup.path)
	for suffix, quoted := range map[string]string{"\n": `\n"`, "\r\n": `\r\n"`, "\x00": `\x00"`, "\tx": `\tx"`, "\u0085": `\u0085"`} {
		setup.path = filepath.Join(filepath.Dir(setup.path), "charges.db"+suffix)
		err := setup.failure(t)
		require.ErrorContains(t, err, "sqlitestore: path must not have control characters")
		require.ErrorContains(t, err, "charges.db"+quoted)
		err = s.Backup(t.Context(), setup.path)
		require.ErrorContains(t, err, "sqlitestore: backup: path must not have control characters")
		require.ErrorContains(t, err, "charges.db"+quoted)
	}
	require.Equal(t, before, names(t, setup.path), "nothing was created")
}

func TestDanglingLinks(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	folder := filepath.Dir(setup.path)
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink("gone", link))
	before := names(t, setup.path)
	for _, path := range []string{link, filepath.Join(link, "charges.db")} {
		setup.path = path
		err := setup.failure(t)
		require.ErrorContains(t, err, `link" is a symbolic link to "gone", which does not exist`)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, s.Backup(t.Context(), path), `link" is a symbolic link to "gone", which does not exist`)
	}
	require.ErrorIs(t, s.Backup(t.Context(), link), fs.ErrExist)
	require.Equal(t, before, names(t, link))
}
