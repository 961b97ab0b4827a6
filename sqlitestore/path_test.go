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
	before := fileNames(t, setup.path)
	for suffix, quoted := range map[string]string{"\n": `\n"`, "\r\n": `\r\n"`, "\x00": `\x00"`, "\tx": `\tx"`, "\u0085": `\u0085"`} {
		setup.path = filepath.Join(filepath.Dir(setup.path), "charges.db"+suffix)
		err := setup.openError(t)
		require.ErrorContains(t, err, "sqlitestore: path must not have control characters")
		require.ErrorContains(t, err, "charges.db"+quoted)
		err = s.Backup(t.Context(), setup.path)
		require.ErrorContains(t, err, "sqlitestore: backup: path must not have control characters")
		require.ErrorContains(t, err, "charges.db"+quoted)
	}
	require.Equal(t, before, fileNames(t, setup.path), "nothing was created")
}

func TestDanglingLinks(t *testing.T) {
	setup := newSetup(t)
	s := setup.open(t)
	dir := filepath.Dir(setup.path)
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("gone", link))
	before := fileNames(t, setup.path)
	for _, path := range []string{link, filepath.Join(link, "charges.db")} {
		setup.path = path
		err := setup.openError(t)
		require.ErrorContains(t, err, `link" is a symbolic link to "gone", which does not exist`)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, s.Backup(t.Context(), path), `link" is a symbolic link to "gone", which does not exist`)
	}
	require.ErrorIs(t, s.Backup(t.Context(), link), fs.ErrExist)
	require.Equal(t, before, fileNames(t, link))
}

func TestUnusualFileNames(t *testing.T) {
	for _, name := range []string{
		"a b", "a?b=c", "a?mode=memory", "a#b", "a%20b", "100%", "a&b", "a+b", "a;b", "a'b", `a"b`, `a\b`, "ä\u0308", ":memory:", "file:a.db",
		"-", "charges",
	} {
		t.Run(name, func(t *testing.T) {
			setup := newSetup(t)
			dir := filepath.Dir(setup.path)
			setup.path = filepath.Join(dir, name)
			s := setup.open(t)
			stored := fresh(t, s, charges("acme", "a"))
			require.NoError(t, s.Backup(t.Context(), setup.path+".copy"))
			require.NoError(t, s.Close())
			files := readFiles(t, dir)
			require.Len(t, files, 2)
			require.Contains(t, files, name)
			require.Contains(t, files, name+".copy")
			require.Equal(t, stored, listed(t, setup.open(t), "acme"))
			setup.path += ".copy"
			require.Equal(t, stored, listed(t, setup.open(t), "acme"))
		})
	}
}

func TestPathsThatNameNoFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, path := range []string{"", ":memory:", "file:a.db", "file::memory:?cache=shared", "a\x00b", "missing/a.db"} {
		setup := newSetup(t)
		setup.path = path
		setup.openError(t)
	}
	require.Empty(t, readFiles(t, dir))
}

func TestRelativePathsAndLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(dir)
	require.NoError(t, os.Mkdir("data", 0o700))
	require.NoError(t, os.Symlink("data", "link"))
	setup := newSetup(t)
	setup.path = "link/charges.db"
	s := setup.open(t)
	require.Equal(t, filepath.Join(dir, "data", "charges.db"), s.file.path)
	require.FileExists(t, filepath.Join(dir, "data", "charges.db.lock"))

	require.NoError(t, os.Symlink("nowhere.db", "dangling.db"))
	setup.path = "dangling.db"
	require.ErrorIs(t, setup.openError(t), fs.ErrNotExist)
	require.NoFileExists(t, "nowhere.db")
}
