package storekit_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/storekit"
)

func newIDs(t *testing.T, last string) *storekit.IDGenerator {
	t.Helper()
	g, err := storekit.NewIDGenerator(nil, last)
	require.NoError(t, err)
	return g
}

func nextID(t *testing.T, g *storekit.IDGenerator, at time.Time) string {
	t.Helper()
	id, err := g.Next(at)
	require.NoError(t, err)
	return id
}

func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	g := newIDs(t, "")
	require.Zero(t, g.LastTime())
	id := nextID(t, g, at)
	require.True(t, at.Equal(g.LastTime()))
	require.Regexp(t, `^chda_[0-9A-HJKMNP-TV-Z]{26}$`, id)
	require.Greater(t, id, storekit.FirstID(at))
	require.Less(t, id, storekit.FirstID(at.Add(time.Millisecond)))
}

func TestIDTime(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 123_987_654, time.UTC)
	got, err := storekit.IDTime(nextID(t, newIDs(t, ""), at))
	require.NoError(t, err)
	require.Equal(t, at.Truncate(time.Millisecond), got)
	for _, id := range []string{"", "chda_", "chda_0000000000000000000000000", "chda_U0000000000000000000000000", "evnt_00000000000000000000000000"} {
		_, err := storekit.IDTime(id)
		require.ErrorContains(t, err, "not a charge event id")
	}
}

func TestIDsAfterClockGoesBack(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	g := newIDs(t, "")
	last := nextID(t, g, at)
	for _, step := range []time.Duration{0, time.Second, -time.Hour, -100 * 365 * 24 * time.Hour, 0} {
		id := nextID(t, g, at.Add(step))
		require.Greater(t, id, last)
		last = id
	}
}

func TestIDsAfterRestart(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	last := nextID(t, newIDs(t, ""), at)
	for range 50 { // without last, half of the ids would be smaller
		require.Greater(t, nextID(t, newIDs(t, last), at.Add(-time.Hour)), last)
	}
}

func TestIDsBeyondOneMillisecond(t *testing.T) {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	// The largest random part, then small ones.
	entropy := append(bytes.Repeat([]byte{0xff}, 10), bytes.Repeat([]byte{1}, 1000)...)
	g, err := storekit.NewIDGenerator(bytes.NewReader(entropy), "")
	require.NoError(t, err)
	last := nextID(t, g, at)
	require.Equal(t, "ZZZZZZZZZZZZZZZZ", last[len(last)-16:])
	for range 5 {
		id := nextID(t, g, at)
		require.Greater(t, id, last)
		last = id
	}
}

func TestConcurrentIDs(t *testing.T) {
	g := newIDs(t, "")
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	seen := make(map[string]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				id, err := g.Next(at)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, seen, 1600)
}

func TestIDGeneratorErrors(t *testing.T) {
	for _, last := range []string{"x", "chda_", "chda_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "chdb_01ARZ3NDEKTSV4RRFFQ69G5FAV", "chda_01ARZ3NDEKTSV4RRFFQ69G5FA!"} {
		_, err := storekit.NewIDGenerator(rand.Reader, last)
		require.ErrorContains(t, err, "not a charge event id", last)
	}
	broken := errors.New("no entropy")
	g, err := storekit.NewIDGenerator(iotest.ErrReader(broken), "")
	require.NoError(t, err)
	_, err = g.Next(time.Now())
	require.ErrorIs(t, err, broken)
}
