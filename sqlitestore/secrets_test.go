package sqlitestore

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestAppendErrorsNameNoFile(t *testing.T) {
	var log bytes.Buffer
	setup := newSetup(t)
	setup.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	back := moveAway(t, setup.path, false)
	_, err := s.Append(t.Context(), charges("acme", "b"))
	require.ErrorIs(t, err, chargeingest.ErrNotStored)
	folder := filepath.Dir(setup.path)
	require.NotContains(t, err.Error(), folder)
	require.Contains(t, log.String(), "moved away")
	require.Contains(t, log.String(), setup.path, "the operator's log does")
	back()
	fresh(t, s, charges("acme", "b"))
}
