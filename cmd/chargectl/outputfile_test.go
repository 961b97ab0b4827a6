package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOutputFileCreatedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	f, err := createOutput(path)
	require.NoError(t, err)
	_, err = f.Write([]byte("ours"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("theirs"), 0o600))
	require.ErrorContains(t, f.commit(), "the file exists")
	f.discard()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "theirs", string(text))
	require.Equal(t, []string{"out"}, dirNames(t, filepath.Dir(path)))
}
