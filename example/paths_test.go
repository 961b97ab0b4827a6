package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/cli"
)

var pathOptions = map[string]string{
	"-db": "CHARGEINGEST_DB", "-keys": "CHARGEINGEST_KEYS",
	"-tls-cert": "CHARGEINGEST_TLS_CERT", "-tls-key": "CHARGEINGEST_TLS_KEY", "-relay-nats-creds": "CHARGEINGEST_RELAY_NATS_CREDS",
}

func TestPathOptionsAreComplete(t *testing.T) {
	for _, o := range serverCommand(new(serverConfig), new(keyConfig), new(certificate)).Options {
		if o.Argument == "PATH" || o.Argument == "FILE" {
			require.Equal(t, o.Env, pathOptions["-"+o.Name], "an option is not tested")
		}
	}
}

func requireUsage(t *testing.T, tp *testProgram, line string, args ...string) {
	t.Helper()
	before, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Equal(t, cli.StatusUsage, tp.run(t.Context(), args))
	require.Equal(t, "chargeingest: "+line+"\n", tp.log.String())
	after, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestPathsWithControlCharacters(t *testing.T) {
	t.Chdir(t.TempDir())
	const rule = "must not have control characters such as a line break, but is "
	for name, variable := range pathOptions {
		for value, quoted := range map[string]string{"a.db\n": `"a.db\n"`, "memory\n": `"memory\n"`, "a\r\n": `"a\r\n"`, "a\x00b": `"a\x00b"`} {
			requireUsage(t, newTestProgram(), name+": "+rule+quoted, name, value)
			tp := newTestProgram()
			tp.env[variable] = value
			requireUsage(t, tp, variable+": "+rule+quoted)
		}
	}
}

func TestURLsWithControlCharacters(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, value := range []string{"\npostgres://u:secret@h/d", "\tpostgres://u:secret@h/d", "postgres://u:secret@h/d\n"} {
		requireUsage(t, newTestProgram(), "-db: must not have control characters such as a line break", "-db", value)
	}
}

func TestDanglingLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Chdir(dir)
	require.NoError(t, os.Symlink("gone", "link"))
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	dangling := `"` + filepath.Join(dir, "link") + `" is a symbolic link to "gone", which does not exist`
	requireUsage(t, newTestProgram(), "-keys: "+dangling, "-keys", "link")
	requireUsage(t, newTestProgram(), "-tls-cert, -tls-key: "+dangling, "-tls-cert", "link", "-tls-key", keyFile)
	requireUsage(t, newTestProgram(), "-tls-cert, -tls-key: "+dangling, "-tls-cert", certFile, "-tls-key", "link")

	tp := newTestProgram()
	require.Equal(t, cli.StatusFailure, tp.run(t.Context(), strings.Fields("-addr 127.0.0.1:0 -db link")))
	require.Contains(t, tp.log.String(), dangling)
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	require.Len(t, entries, 1)
}
