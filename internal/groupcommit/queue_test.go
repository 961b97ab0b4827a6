package groupcommit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func waiting(platform string, n int) *Request {
	return newRequest(storekit.Attempt{Batch: chargeingest.Batch{Platform: platform, Events: make([]chargeingest.NewEvent, n)}})
}

func pushed(t *testing.T, q *Queue, requests ...*Request) {
	t.Helper()
	for _, r := range requests {
		require.NoError(t, q.push(r))
	}
}

func taken(t *testing.T, q *Queue, maxEvents int) (platforms []string) {
	t.Helper()
	group, open := q.Take(maxEvents, nil)
	require.True(t, open)
	for _, r := range group {
		platforms = append(platforms, r.Platform)
	}
	return platforms
}

func dropped(t *testing.T, r *Request) bool {
	t.Helper()
	select {
	case a := <-r.done:
		require.ErrorIs(t, a.Err, chargeingest.ErrOverloaded)
		require.ErrorIs(t, a.Err, chargeingest.ErrNotStored)
		return true
	default:
		return false
	}
}

func TestPlatformsTakeTurns(t *testing.T) {
	q := New(100, nil, nil)
	for range 4 {
		pushed(t, q, waiting("flood", 1))
	}
	pushed(t, q, waiting("a", 1), waiting("b", 1), waiting("a", 1))
	require.Equal(t, []string{"flood", "a", "b", "flood", "a"}, taken(t, q, 5))
	pushed(t, q, waiting("c", 1))
	require.Equal(t, []string{"flood", "c", "flood"}, taken(t, q, 5))
	require.Empty(t, taken(t, q, 5))
	require.Zero(t, q.events)
}

func TestOldestRequestFirst(t *testing.T) {
	q := New(100, nil, nil)
	first, second, third := waiting("a", 1), waiting("a", 2), waiting("a", 3)
	pushed(t, q, first, second, third)
	group, _ := q.Take(100, nil)
	require.Equal(t, []*Request{first, second, third}, group)
}

func TestGroupEventLimit(t *testing.T) {
	q := New(100, nil, nil)
	pushed(t, q, waiting("a", 3), waiting("b", 3), waiting("c", 50), waiting("d", 1))
	require.Equal(t, []string{"a", "b"}, taken(t, q, 8))
	require.Equal(t, []string{"c"}, taken(t, q, 8), "alone beyond the limit")
	require.Equal(t, []string{"d"}, taken(t, q, 8))
}

func TestGroupByteLimit(t *testing.T) {
	q := New(100, nil, nil)
	of := func(platform string, bytes ...int) *Request {
		events := make([]chargeingest.NewEvent, len(bytes))
		for i, n := range bytes {
			events[i].Content = strings.Repeat("x", n)
		}
		return newRequest(storekit.Attempt{Batch: chargeingest.Batch{Platform: platform, Events: events}})
	}
	const mib = 1 << 20
	pushed(t, q, of("a", 5*mib, 5*mib), of("b", 6*mib), of("c", 1), of("d", 9*mib, 9*mib), of("e", 1))
	require.Equal(t, []string{"a", "b"}, taken(t, q, 100))
	require.Equal(t, []string{"c"}, taken(t, q, 100))
	require.Equal(t, []string{"d"}, taken(t, q, 100), "alone beyond the limit")
	require.Equal(t, []string{"e"}, taken(t, q, 100))
}

func TestReady(t *testing.T) {
	q := New(100, nil, nil)
	woken := func() bool {
		select {
		case <-q.ready:
			return true
		default:
			return false
		}
	}
	require.False(t, woken())
	pushed(t, q, waiting("a", 1), waiting("a", 1))
	require.True(t, woken())
	require.False(t, woken())
	q.Take(1, nil)
	require.True(t, woken(), "one is left")
	q.Take(1, nil)
	require.False(t, woken())
	q.Close()
	require.True(t, woken())
}

func TestFullQueue(t *testing.T) {
	q := New(10, nil, nil)
	pushed(t, q, waiting("a", 6), waiting("b", 4))
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrOverloaded)
	require.ErrorIs(t, q.push(waiting("c", 6)), chargeingest.ErrOverloaded, "it would have as many as the largest")
	require.Equal(t, []string{"a", "b"}, taken(t, q, 100))
}

func TestFloodMakesRoomForOtherPlatforms(t *testing.T) {
	q := New(10, nil, nil)
	var flood []*Request
	for range 10 {
		flood = append(flood, waiting("flood", 1))
	}
	pushed(t, q, flood...)
	a := waiting("a", 3)
	pushed(t, q, a)
	for i, r := range flood {
		require.Equal(t, i >= 7, dropped(t, r), "request %d: the newest are dropped", i)
	}
	require.Equal(t, 10, q.events)
	pushed(t, q, waiting("b", 2), waiting("b", 1))
	require.ErrorIs(t, q.push(waiting("b", 1)), chargeingest.ErrOverloaded, "the shares are equal now")
	require.ErrorIs(t, q.push(waiting("flood", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"flood", "a", "b", "flood", "b", "flood", "flood"}, taken(t, q, 100))
	require.False(t, dropped(t, a))
}

func TestNothingIsDroppedWithoutNeed(t *testing.T) {
	q := New(10, nil, nil)
	first, second := waiting("flood", 4), waiting("flood", 2)
	pushed(t, q, first, second, waiting("other", 4))
	require.ErrorIs(t, q.push(waiting("new", 5)), chargeingest.ErrOverloaded, "flood would be smaller before there is room")
	require.False(t, dropped(t, first))
	require.False(t, dropped(t, second))
	require.Equal(t, 10, q.events)

	pushed(t, q, waiting("new", 2))
	require.False(t, dropped(t, first))
	require.True(t, dropped(t, second), "one is enough")
}

func TestBatchBeyondTheLimitOnAnEmptyQueue(t *testing.T) {
	q := New(10, nil, nil)
	pushed(t, q, waiting("a", 11))
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"a"}, taken(t, q, 5))
	pushed(t, q, waiting("b", 1))
	require.ErrorIs(t, q.push(waiting("a", 11)), chargeingest.ErrOverloaded)
}

func TestEmptyRequestCounts(t *testing.T) {
	q := New(2, nil, nil)
	pushed(t, q, waiting("a", 0), waiting("a", 0))
	require.ErrorIs(t, q.push(waiting("a", 0)), chargeingest.ErrOverloaded)
	require.Len(t, taken(t, q, 10), 2)
}

func TestRemove(t *testing.T) {
	q := New(10, nil, nil)
	var requests []*Request
	for i := range 3 {
		requests = append(requests, waiting("a", i+1))
	}
	pushed(t, q, requests...)
	require.True(t, q.remove(requests[1]))
	require.False(t, q.remove(requests[1]))
	require.Equal(t, 4, q.events)
	group, _ := q.Take(1, nil)
	require.Equal(t, requests[:1], group)
	require.False(t, q.remove(requests[0]))
	require.True(t, q.remove(requests[2]))
	require.Zero(t, q.events)
	require.True(t, q.rotation.empty())
	pushed(t, q, waiting("a", 10))
}

func TestRequeuedRequestsComeFirst(t *testing.T) {
	q := New(4, nil, nil)
	var requests []*Request
	for i := range 4 {
		requests = append(requests, waiting([]string{"a", "b"}[i%2], 1))
	}
	pushed(t, q, requests...)
	group, _ := q.Take(4, nil)
	require.Equal(t, requests, group)
	late := waiting("a", 1)
	pushed(t, q, waiting("c", 1), late)
	q.Requeue(group[1:]) // beyond the limit
	require.Equal(t, 5, q.events)
	q.Close()
	require.Equal(t, []string{"b", "a", "c", "b", "a"}, taken(t, q, 10))

	q = New(10, nil, nil)
	pushed(t, q, requests[0], requests[2], requests[1])
	group, _ = q.Take(2, nil)
	require.Equal(t, []*Request{requests[0], requests[1]}, group)
	q.Requeue(group)
	<-q.ready
	group, _ = q.Take(1, nil)
	require.Equal(t, requests[:1], group, "its platform has the first turn")
	require.True(t, q.remove(requests[1]), "it is queued")
	q.Take(10, nil)
	q.Requeue(nil)
	require.True(t, q.rotation.empty())
}

func TestRequeuedPlatformsGetTheirTurn(t *testing.T) {
	q := New(100, nil, nil)
	for range 20 {
		pushed(t, q, waiting("flood", 1))
	}
	victim := waiting("victim", 1)
	pushed(t, q, victim)
	for range 2 {
		group, _ := q.Take(10, nil)
		if group[0] == victim {
			return
		}
		pushed(t, q, waiting("flood", 1))
		q.Requeue(group[1:])
	}
	require.Fail(t, "it is requeued each time")
}

func TestClose(t *testing.T) {
	q := New(10, nil, nil)
	pushed(t, q, waiting("a", 1), waiting("b", 1))
	q.Close()
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrClosed)
	require.Equal(t, []string{"a"}, taken(t, q, 1))
	require.Equal(t, []string{"b"}, taken(t, q, 1))
	group, open := q.Take(1, nil)
	require.Empty(t, group)
	require.False(t, open)
}

func TestManyPlatforms(t *testing.T) {
	q := New(100, nil, nil)
	for range 100 {
		pushed(t, q, waiting("flood", 1))
	}
	for i := range 99 {
		pushed(t, q, waiting(fmt.Sprint(i), 1))
	}
	require.Equal(t, 100, q.events)
	require.ErrorIs(t, q.push(waiting("late", 1)), chargeingest.ErrOverloaded)
	require.Len(t, taken(t, q, 1000), 100)
}

func TestObserve(t *testing.T) {
	var panics []error
	q := New(10, func(c chargeingest.CommitStats) {
		if c.Events == 2 {
			panic("no more metrics")
		}
	}, func(err error) { panics = append(panics, err) })
	q.Observe(chargeingest.CommitStats{Events: 1})
	require.Empty(t, panics)
	q.Observe(chargeingest.CommitStats{Events: 2})
	require.Len(t, panics, 1)
	require.ErrorContains(t, panics[0], "no more metrics")
	require.Equal(t, chargeingest.StoreStats{Commits: 2, LastCommit: chargeingest.CommitStats{Events: 2}}, q.Stats())

	failed := chargeingest.CommitStats{Err: chargeingest.ErrNotStored}
	q.Observe(failed)
	require.Equal(t, chargeingest.StoreStats{Commits: 2, LastCommit: failed}, q.Stats())
}
