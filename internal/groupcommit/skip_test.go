package groupcommit

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func takenExcept(t *testing.T, q *Queue, maxEvents int, skipped string) (platforms []string) {
	t.Helper()
	group, open := q.Take(maxEvents, func(platform string) bool { return platform == skipped })
	require.True(t, open)
	for _, r := range group {
		platforms = append(platforms, r.Batch.Platform)
	}
	return platforms
}

func signalled(q *Queue) bool {
	select {
	case <-q.Ready():
		return true
	default:
		return false
	}
}

func TestSkippedPlatformsKeepTheirTurn(t *testing.T) {
	q := New(100, nil, nil)
	held := waiting("held", 1)
	pushed(t, q, waiting("a", 1), held, waiting("b", 1), waiting("held", 1), waiting("a", 1))
	require.True(t, signalled(q))
	require.Equal(t, []string{"a", "b"}, takenExcept(t, q, 2, "held"))
	require.True(t, signalled(q), "a is still queued")
	require.Equal(t, []string{"a"}, takenExcept(t, q, 2, "held"))
	require.False(t, signalled(q), "everything that is queued is skipped")
	require.Equal(t, 2, q.events)

	pushed(t, q, waiting("c", 1))
	require.True(t, q.remove(held))
	require.Equal(t, []string{"held", "c"}, taken(t, q, 5))
}

func TestClosedQueueWithSkippedPlatforms(t *testing.T) {
	q := New(100, nil, nil)
	pushed(t, q, waiting("held", 1))
	q.Close()
	require.True(t, signalled(q))
	require.Empty(t, takenExcept(t, q, 5, "held"))
	require.False(t, signalled(q))
	require.Equal(t, []string{"held"}, taken(t, q, 5))
	require.True(t, signalled(q))
	_, open := q.Take(5, nil)
	require.False(t, open)
}

func TestSecondResultIsIgnored(t *testing.T) {
	r, first := waiting("a", 1), errors.New("first")
	r.Finish(Result{Err: first})
	r.Finish(Result{Err: errors.New("second")})
	require.Equal(t, first, (<-r.done).Err)
}
