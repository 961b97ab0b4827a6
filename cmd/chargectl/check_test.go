package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	db, backup := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 2)
	const contents = `schema version    10
events            10, the newest has number 10
idempotency keys  0
platform          default: 10 events, 0 idempotency keys
first event       chda_\w+, received at 2\d{3}-\S+Z
last event        chda_\w+, received at 2\d{3}-\S+Z
no problems found
`
	check := func(path string, running bool, files string) {
		t.Helper()
		before := filesWith(t, filepath.Dir(path), !running)
		require.Regexp(t, `^`+files+contents+`$`, requireTool(t, "check", "-db", path))
		require.Equal(t, before, filesWith(t, filepath.Dir(path), !running))
	}
	const wal = `write-ahead log   \d+\.\d KB, \d+ pages
state file        matches; an event with number \d+ or later was acknowledged
unused pages      0 bytes
`
	check(db, true, `server            has the database open
database file     \d+\.\d KB \(\d+ bytes\)
`+wal)
	requireTool(t, "backup", "-db", db, backup)
	s.kill()
	check(db, false, `server            does not have the database open
database file     \d+\.\d KB \(\d+ bytes\)
`+wal)
	check(backup, false, `server            does not have the database open
database file     \d+\.\d KB \(\d+ bytes\)
write-ahead log   none
state file        none
unused pages      0 bytes
`)
}

func TestCheckFindsProblems(t *testing.T) {
	dir := t.TempDir()
	db, backup := filepath.Join(dir, "charges.db"), filepath.Join(t.TempDir(), "backup.db")
	s := startRealServer(t, db)
	s.storeBatches(t, 1, 30)
	requireTool(t, "backup", "-db", db, backup)
	s.kill()
	require.NoError(t, os.Remove(db+"-wal"))
	status, stdout, stderr := runTool(t, "check", "-db", db)
	require.Equal(t, 1, status)
	require.Equal(t, "chargectl: check: problems found in "+db+": 1\n", stderr)
	require.Regexp(t, `problem: acknowledged events are missing: .* mv `+db+`.state `+db+`.state.old\n$`, stdout)

	text, err := os.ReadFile(backup)
	require.NoError(t, err)
	for at := len(text) - 4096*5; at < len(text); at++ {
		text[at] ^= 0xff
	}
	require.NoError(t, os.WriteFile(backup, text, 0o600))
	status, stdout, stderr = runTool(t, "check", "-db", backup)
	require.Equal(t, 1, status)
	require.Contains(t, stdout, "problem: integrity check: ", stderr)
	require.NotContains(t, stdout, "no problems")
	require.Regexp(t, `problems found in .*: [1-9]`, stderr)
	status, _, _ = runTool(t, "restore", "-from", backup, "-db", db)
	require.Equal(t, 1, status)
}

func TestCheckOfOtherPaths(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("text ", 1000)), 0o600))
	for path, stderr := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory", text: "not a charge event database", dir: "not a regular file",
	} {
		status, stdout, log := runTool(t, "check", "-db", path)
		require.Equal(t, 1, status)
		require.Contains(t, log, stderr)
		require.Empty(t, stdout)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	status, _, log := runTool(t, "check", "-db", text, "x")
	require.Equal(t, 2, status)
	require.Contains(t, log, `check: unexpected argument "x"`)
	status, _, log = runTool(t, "check")
	require.Equal(t, 2, status)
	require.Contains(t, log, "check: -db or CHARGEINGEST_DB must be given")
}
