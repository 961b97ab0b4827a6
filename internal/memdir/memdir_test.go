package memdir_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/memdir"
)

func TestPath(t *testing.T) {
	dir, err := os.MkdirTemp(memdir.Path(), "test")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.WriteFile(dir+"/file", []byte("text"), 0o600))
}
