package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsageErrors(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(dir)
	require.NoError(t, os.Symlink("gone", "link"))
	const urlRule = "must be an http or https URL without user, query or fragment, such as http://127.0.0.1:8080"
	for _, c := range []struct{ args, env, stderr string }{
		{args: "", stderr: "no command given; the commands are load and tail; see chargectl -help"},
		{args: "lode", stderr: `unknown command "lode"; the commands are load and tail; see chargectl -help`},
		{args: "-api-key k load", stderr: "options come after the command; the commands are load and tail; see chargectl -help"},
		{args: "load", stderr: "load: FILE is missing"},
		{args: "load a b", stderr: "load: one FILE must be given, not 2"},
		{args: "load a", stderr: "load: -api-key or CHARGEINGEST_API_KEY must be given"},
		{args: "load none.ndjson -api-key k", stderr: "load: open none.ndjson: no such file or directory"},
		{args: "load events.ndjson\n -api-key k", stderr: `load: FILE must not have control characters such as a line break, but is "events.ndjson\n"`},
		{args: "load link -api-key k", stderr: `load: "` + dir + `/link" is a symbolic link to "gone", which does not exist`},
		{args: "load a -batch 0 -api-key k", stderr: `-batch: must be a whole number from 1 to 1000, not "0"`},
		{args: "load a -batch 1001 -api-key k", stderr: `-batch: must be a whole number from 1 to 1000, not "1001"`},
		{args: "load a -url ftp://u:secret@h", stderr: "-url: " + urlRule},
		{args: "tail", env: "CHARGEINGEST_URL=127.0.0.1:8080", stderr: "CHARGEINGEST_URL: " + urlRule},
		{args: "tail more", stderr: `tail: unexpected argument "more"`},
		{args: "tail", stderr: "tail: -api-key or CHARGEINGEST_API_KEY must be given"},
		{args: "tail -interval 0s -api-key k", stderr: `-interval: must be a positive duration such as 500ms or 2s, not "0s"`},
		{args: "tail -interval 1 -api-key k", stderr: `-interval: must be a positive duration such as 500ms or 2s, not "1"`},
		{args: "tail -follow=maybe -api-key k", stderr: `-follow: must be true or false, not "maybe"`},
		{args: "tail -position= -api-key k", stderr: "-position: must not be empty"},
	} {
		t.Run(c.args+" "+c.env, func(t *testing.T) {
			tp := newTestProgram()
			if name, value, ok := strings.Cut(c.env, "="); ok {
				tp.env[name] = value
			}
			args := strings.FieldsFunc(c.args, func(r rune) bool { return r == ' ' })
			require.Equal(t, 2, tp.run(t.Context(), args))
			require.Equal(t, "chargectl: "+c.stderr+"\n", tp.log.String())
			require.Empty(t, tp.out.String())
		})
	}
}

func TestHelp(t *testing.T) {
	for args, text := range map[string]string{
		"-help": "  load FILE   send a file", "-h": "  tail        print the stored events",
		"load -help": "-api-key KEY  (or CHARGEINGEST_API_KEY)", "tail x --help": "-api-key KEY  (or CHARGEINGEST_API_KEY)",
	} {
		t.Run(args, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 0, tp.run(t.Context(), strings.Fields(args)))
			require.Empty(t, tp.log.String())
			require.Contains(t, tp.out.String(), text)
		})
	}
}
