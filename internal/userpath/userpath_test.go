package userpath_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/userpath"
)

func TestCheck(t *testing.T) {
	for _, path := range []string{"charges.db", "a directory/é.db", `C:\charges.db`, " ", "\u202e.db"} {
		require.NoError(t, userpath.Check(path))
	}
	for path, quoted := range map[string]string{
		"charges.db\n":   `"charges.db\n"`,
		"charges.db\r\n": `"charges.db\r\n"`,
		"a\tb":           `"a\tb"`,
		"\x00":           `"\x00"`,
		"a\x7f":          `"a\x7f"`,
		"a\u0085":        `"a\u0085"`,
		"a\x1b[2Jb":      `"a\x1b[2Jb"`,
	} {
		require.ErrorContains(t, userpath.Check(path), quoted)
	}
}

func TestExplain(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.Symlink("gone", at("link")))
	require.NoError(t, os.Symlink("link", at("chain")))
	require.NoError(t, os.Symlink(dir, at("dir")))
	for _, c := range []struct{ path, want string }{
		{"link", `"` + at("link") + `" is a symbolic link to "gone", which does not exist`},
		{"chain", `"` + at("chain") + `" is a symbolic link to "link", which does not exist`},
		{"link/charges.db", `"` + at("link") + `" is a symbolic link to "gone", which does not exist`},
		{"dir/link", `"` + at("dir/link") + `" is a symbolic link to "gone", which does not exist`},
		{"dir/missing", "open " + at("dir/missing") + ": no such file or directory"},
		{"missing/charges.db", "open " + at("missing/charges.db") + ": no such file or directory"},
	} {
		_, err := os.Open(at(c.path))
		err = userpath.Explain(at(c.path), err)
		require.EqualError(t, err, c.want)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.NoError(t, userpath.Explain(at("link"), nil))
	require.Equal(t, fs.ErrPermission, userpath.Explain(at("link"), fs.ErrPermission), "an unrelated error")

	t.Chdir(dir)
	_, err = os.Open("link")
	require.ErrorContains(t, userpath.Explain("link", err), `"`+at("link")+`" is a symbolic link to "gone"`)
}
