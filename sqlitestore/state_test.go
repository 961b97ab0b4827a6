package sqlitestore

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDamagedState(t *testing.T) {
	s := state{current: newToken(), opening: newToken(), markOffset: 8000, newest: 1 << 62}
	text := s.encode()
	require.Less(t, len(text), 512, "one sector")
	require.Len(t, state{}.encode(), len(text))
	decoded, ok := decodeState(text)
	require.True(t, ok)
	require.Equal(t, s, decoded)
	for i := range text {
		_, ok := decodeState(text[:i])
		require.False(t, ok, i)
		changed := bytes.Clone(text)
		changed[i] ^= 1
		_, ok = decodeState(changed)
		require.False(t, ok, i)
	}
	_, ok = decodeState(append(text, '\n'))
	require.False(t, ok)
}

func TestStateFileIsUpdated(t *testing.T) {
	newest := func(s *Store) int64 {
		text, err := os.ReadFile(s.file.path + ".state")
		require.NoError(t, err)
		st, ok := decodeState(text)
		require.True(t, ok)
		return st.newest
	}
	setup := newSetup(t)
	setup.tuning.stateEvery = time.Millisecond
	s := setup.open(t)
	fresh(t, s, charges("acme", "a"))
	fresh(t, s, charges("acme", "b"))
	require.Eventually(t, func() bool { return newest(s) == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())

	setup.tuning.stateEvery = time.Hour
	s = setup.open(t)
	fresh(t, s, charges("acme", "c"))
	require.EqualValues(t, 3, newest(s), "the first event of the WAL is written at once")
	fresh(t, s, charges("acme", "d"))
	require.EqualValues(t, 3, newest(s))
	require.NoError(t, s.Close())
	require.EqualValues(t, 4, newest(s))
}
