package main

import (
	"context"
	"errors"
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
	require.NoError(t, os.WriteFile("events", nil, 0o600))
	const urlRule = "must be an http or https URL without user, query or fragment, such as http://127.0.0.1:8080, or unix:/PATH"
	for _, c := range []struct{ args, env, stderr string }{
		{args: "", stderr: "no command given; " + listCommands()},
		{args: "lode", stderr: `unknown command "lode"; ` + listCommands()},
		{args: "-api-key k load", stderr: "options come after the command; " + listCommands()},
		{args: "load", stderr: "load: FILE is missing"},
		{args: "load a b", stderr: "load: one FILE must be given, not 2"},
		{args: "load a", stderr: "load: -api-key or CHARGEINGEST_API_KEY, or -token or CHARGEINGEST_TOKEN, must be given"},
		{args: "load none.ndjson -api-key k", stderr: "load: open none.ndjson: no such file or directory"},
		{args: "load events.ndjson\n -api-key k", stderr: `load: FILE must not have control characters such as a line break, but is "events.ndjson\n"`},
		{args: "load link -api-key k", stderr: `load: "` + dir + `/link" is a symbolic link to "gone", which does not exist`},
		{args: "load . -api-key k", stderr: "load: FILE . is a directory"},
		{args: "load a -batch 0 -api-key k", stderr: `-batch: must be a whole number from 1 to 1000, not "0"`},
		{args: "load a -batch 1001 -api-key k", stderr: `-batch: must be a whole number from 1 to 1000, not "1001"`},
		{args: "load a -url ftp://u:secret@h", stderr: "-url: " + urlRule},
		{args: "tail", env: "CHARGEINGEST_URL=127.0.0.1:8080", stderr: "CHARGEINGEST_URL: " + urlRule},
		{args: "tail -url unix:socket", stderr: "-url: " + urlRule},
		{args: "tail -platform p\n -api-key k", stderr: `-platform: must have no control characters, and no space at its start or end, but is "p\n"`},
		{args: "tail more", stderr: `tail: unexpected argument "more"`},
		{args: "tail", stderr: "tail: -api-key or CHARGEINGEST_API_KEY, or -token or CHARGEINGEST_TOKEN, must be given"},
		{args: "tail -api-key k -token t", stderr: "tail: an API key and a token must not both be given " +
			"(-api-key, CHARGEINGEST_API_KEY, -token, CHARGEINGEST_TOKEN)"},
		{args: "tail -interval 0s -api-key k", stderr: `-interval: must be a positive duration such as 500ms or 2s, not "0s"`},
		{args: "tail -interval 1 -api-key k", stderr: `-interval: must be a positive duration such as 500ms or 2s, not "1"`},
		{args: "tail -follow=maybe -api-key k", stderr: `-follow: must be true or false, not "maybe"`},
		{args: "tail -from= -api-key k", stderr: "-from: must not be empty"},
		{args: "tail -format csv -api-key k", stderr: `-format: must be ndjson or text, not "csv"`},
		{args: "verify -api-key k", stderr: "verify: FILE is missing"},
		{args: "verify a b -api-key k", stderr: "verify: one FILE must be given, not 2"},
		{args: "verify a", stderr: "verify: -api-key or CHARGEINGEST_API_KEY, or -token or CHARGEINGEST_TOKEN, must be given"},
		{args: "verify a -o events -api-key k", stderr: "verify: -o events: the file exists; remove it or choose another name"},
		{args: "verify a -o - -api-key k", stderr: `verify: -o must name a file, not "-"`},
		{args: "load events -rejects - -api-key k", stderr: `load: -rejects must name a file, not "-"`},
		{args: "load events -rejects out\n -api-key k", stderr: `load: -rejects must not have control characters such as a line break, but is "out\n"`},
		{args: "load events -rejects none/out -api-key k", stderr: "load: -rejects: open none/out: no such file or directory"},
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
		"-help": "send a file of charge events to a server", "-h": "print the stored events",
		"load -help": "-api-key KEY  (or CHARGEINGEST_API_KEY)", "tail x --help": "-api-key KEY  (or CHARGEINGEST_API_KEY)",
		"-version": "chargectl ", "load -version": "chargectl ", "tail x --version": "chargectl ",
	} {
		t.Run(args, func(t *testing.T) {
			tp := newTestProgram()
			require.Equal(t, 0, tp.run(t.Context(), strings.Fields(args)))
			require.Empty(t, tp.log.String())
			require.Contains(t, tp.out.String(), text)
		})
	}
	tp := newTestProgram()
	tp.stdout = writerFunc(func([]byte) (int, error) { return 0, errors.New("full") })
	for _, args := range []string{"-help", "-version", "load -help", "load -version"} {
		require.Equal(t, 1, tp.run(t.Context(), strings.Fields(args)), args)
	}
}

func TestCommandOfTwoWords(t *testing.T) {
	var got []string
	saved := commands
	t.Cleanup(func() { commands = saved })
	run := func(_ *program, _ context.Context, args []string) error {
		got = args
		return nil
	}
	commands = []command{{"load", "FILE", "loads", run}, {"pair one", "X", "the first", run}, {"pair two", "", "the second", run}}
	tp := newTestProgram()
	require.Equal(t, 0, tp.run(t.Context(), []string{"pair", "two", "more"}))
	require.Equal(t, []string{"more"}, got)
	require.Equal(t, 0, tp.run(t.Context(), []string{"pair", "-help"}))
	require.Contains(t, tp.out.String(), "  load FILE    loads\n  pair one X   the first\n  pair two     the second\n")

	for args, name := range map[string]string{"pair": "pair", "pair three x": "pair three", "one": "one"} {
		tp := newTestProgram()
		require.Equal(t, 2, tp.run(t.Context(), strings.Fields(args)))
		require.Equal(t, `chargectl: unknown command "`+name+`"; the commands are load, pair one and pair two; see chargectl -help`+"\n", tp.log.String())
	}
}
