package sqlitestore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRestoreThatCannotMove(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	inTheWay := ""
	blocked := &restorer{before: func(operation string) {
		if operation == "move charges.db" {
			aside, err := filepath.Glob(r.path + ".before-restore-*")
			require.NoError(t, err)
			inTheWay = aside[0]
			require.NoError(t, os.Rename(inTheWay, r.path+".away"))
			require.NoError(t, os.WriteFile(inTheWay, nil, 0o600))
		}
	}}
	_, err := blocked.restore(t.Context(), r.backup, r.path)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrRestoreUnfinished)
	require.NoFileExists(t, r.path+".restoring")
	require.Equal(t, "old", r.requireComplete(t))
}

func TestRestoreWhileToolWaitsForLock(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	info, err := os.Stat(r.path)
	require.NoError(t, err)
	tool := &source{file: &file{path: r.path, tuning: defaultTuning()}}
	tool.data, err = os.Open(r.path)
	require.NoError(t, err)
	require.True(t, claim(info))
	tool.info = info
	require.NoError(t, os.Rename(r.path, r.path+".old"))
	copyFile(t, r.backup, r.path)
	err = tool.openThroughSQLite(t.Context())
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "it is starting, stopping or restoring: try again")
	require.NoError(t, tool.close())
}

func TestDraftsOfKilledProcesses(t *testing.T) {
	r := newRestoring(t, t.TempDir())
	draft := filepath.Join(filepath.Dir(r.path), ".charges.db-draft-")
	require.NoError(t, os.Mkdir(draft+"1", 0o700))
	require.NoError(t, os.Mkdir(draft+"2", 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(draft+"2", draftLock), nil, 0o600))
	_, err := Restore(t.Context(), r.backup, r.path)
	require.NoError(t, err)
	require.NoDirExists(t, draft+"1", "killed before it had a lock")
	require.NoDirExists(t, draft+"2")
}
