package groupcommit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// waiting returns a request of n events that is known by its platform.
func waiting(platform string, n int) *Request {
	return newRequest(storekit.Attempt{Batch: chargeingest.Batch{Platform: platform, Events: make([]chargeingest.NewEvent, n)}})
}

func pushed(t *testing.T, q *Queue, requests ...*Request) {
	t.Helper()
	for _, r := range requests {
		require.NoError(t, q.push(r))
	}
}

// taken returns the platforms of the next group.
func taken(t *testing.T, q *Queue, most int) (platforms []string) {
	t.Helper()
	group, open := q.Take(most)
	require.True(t, open)
	for _, r := range group {
		platforms = append(platforms, r.Batch.Platform)
	}
	return platforms
}

// dropped says whether a request was answered as overload.
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
	q := New(100)
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

func TestTheOldestOfAPlatformIsFirst(t *testing.T) {
	q := New(100)
	first, second, third := waiting("a", 1), waiting("a", 2), waiting("a", 3)
	pushed(t, q, first, second, third)
	group, _ := q.Take(100)
	require.Equal(t, []*Request{first, second, third}, group)
}

func TestAGroupIsBoundedInEventsButHasARequest(t *testing.T) {
	q := New(100)
	pushed(t, q, waiting("a", 3), waiting("b", 3), waiting("c", 50), waiting("d", 1))
	require.Equal(t, []string{"a", "b"}, taken(t, q, 8))
	require.Equal(t, []string{"c"}, taken(t, q, 8), "more than the bound by itself")
	require.Equal(t, []string{"d"}, taken(t, q, 8))
}

func TestAGroupIsBoundedInBytesButHasARequest(t *testing.T) {
	q := New(100)
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
	require.Equal(t, []string{"d"}, taken(t, q, 100), "more than the bound by itself")
	require.Equal(t, []string{"e"}, taken(t, q, 100))
}

func TestTheWriterIsWokenWhileSomethingWaits(t *testing.T) {
	q := New(100)
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
	q.Take(1)
	require.True(t, woken(), "one is left")
	q.Take(1)
	require.False(t, woken())
	q.Close()
	require.True(t, woken())
}

func TestAFullQueueRefusesThePlatformThatFillsIt(t *testing.T) {
	q := New(10)
	pushed(t, q, waiting("a", 6), waiting("b", 4))
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrOverloaded)
	require.ErrorIs(t, q.push(waiting("c", 6)), chargeingest.ErrOverloaded, "it would have as many as the longest")
	require.Equal(t, []string{"a", "b"}, taken(t, q, 100))
}

func TestAFloodMakesRoomForTheOthers(t *testing.T) {
	q := New(10)
	var flood []*Request
	for range 10 {
		flood = append(flood, waiting("flood", 1))
	}
	pushed(t, q, flood...)
	a := waiting("a", 3)
	pushed(t, q, a)
	for i, r := range flood {
		require.Equal(t, i >= 7, dropped(t, r), "request %d: the newest go", i)
	}
	require.Equal(t, 10, q.events)
	pushed(t, q, waiting("b", 2), waiting("b", 1))
	require.ErrorIs(t, q.push(waiting("b", 1)), chargeingest.ErrOverloaded, "the shares are equal now")
	require.ErrorIs(t, q.push(waiting("flood", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"flood", "a", "b", "flood", "b", "flood", "flood"}, taken(t, q, 100))
	require.False(t, dropped(t, a))
}

func TestNobodyIsDroppedInVain(t *testing.T) {
	q := New(10)
	first, second := waiting("long", 4), waiting("long", 2)
	pushed(t, q, first, second, waiting("other", 4))
	require.ErrorIs(t, q.push(waiting("new", 5)), chargeingest.ErrOverloaded, "long would be shorter before there is room")
	require.False(t, dropped(t, first))
	require.False(t, dropped(t, second))
	require.Equal(t, 10, q.events)

	pushed(t, q, waiting("new", 2))
	require.False(t, dropped(t, first))
	require.True(t, dropped(t, second), "this one is enough")
}

func TestABatchBeyondTheBoundIsTakenWhereNothingWaits(t *testing.T) {
	q := New(10)
	pushed(t, q, waiting("a", 11))
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"a"}, taken(t, q, 5))
	pushed(t, q, waiting("b", 1))
	require.ErrorIs(t, q.push(waiting("a", 11)), chargeingest.ErrOverloaded)
}

func TestAnEmptyRequestCounts(t *testing.T) {
	q := New(2)
	pushed(t, q, waiting("a", 0), waiting("a", 0))
	require.ErrorIs(t, q.push(waiting("a", 0)), chargeingest.ErrOverloaded)
	require.Len(t, taken(t, q, 10), 2)
}

func TestARequestCanBeRemovedUntilItIsTaken(t *testing.T) {
	q := New(10)
	var requests []*Request
	for i := range 3 {
		requests = append(requests, waiting("a", i+1))
	}
	pushed(t, q, requests...)
	require.True(t, q.remove(requests[1]))
	require.False(t, q.remove(requests[1]))
	require.Equal(t, 4, q.events)
	group, _ := q.Take(1)
	require.Equal(t, requests[:1], group)
	require.False(t, q.remove(requests[0]))
	require.True(t, q.remove(requests[2]))
	require.Zero(t, q.events)
	require.True(t, q.turns.empty())
	pushed(t, q, waiting("a", 10))
}

func TestWhatIsReturnedIsTheFirstOfItsPlatform(t *testing.T) {
	q := New(4)
	var requests []*Request
	for i := range 4 {
		requests = append(requests, waiting([]string{"a", "b"}[i%2], 1))
	}
	pushed(t, q, requests...)
	group, _ := q.Take(4)
	require.Equal(t, requests, group)
	late := waiting("a", 1)
	pushed(t, q, waiting("c", 1), late)
	q.Return(group[1:]) // though the queue is full then
	require.Equal(t, 5, q.events)
	q.Close()
	require.Equal(t, []string{"b", "a", "c", "b", "a"}, taken(t, q, 10))

	q = New(10)
	pushed(t, q, requests[0], requests[2], requests[1])
	group, _ = q.Take(2)
	require.Equal(t, []*Request{requests[0], requests[1]}, group)
	q.Return(group)
	<-q.ready
	group, _ = q.Take(1)
	require.Equal(t, requests[:1], group, "before the one that is behind it")
	require.True(t, q.remove(requests[1]), "nobody has taken it")
	q.Take(10)
	q.Return(nil)
	require.True(t, q.turns.empty())
}

// Each group is at its end behind the first request.
func TestNobodyIsReturnedForEver(t *testing.T) {
	q := New(100)
	for range 20 {
		pushed(t, q, waiting("evil", 1))
	}
	victim := waiting("victim", 1)
	pushed(t, q, victim)
	for range 2 {
		group, _ := q.Take(10)
		if group[0] == victim {
			return
		}
		pushed(t, q, waiting("evil", 1))
		q.Return(group[1:])
	}
	require.Fail(t, "it is returned each time")
}

func TestAClosedQueueIsEmptiedAndThenEnds(t *testing.T) {
	q := New(10)
	pushed(t, q, waiting("a", 1), waiting("b", 1))
	q.Close()
	require.ErrorIs(t, q.push(waiting("a", 1)), chargeingest.ErrClosed)
	require.Equal(t, []string{"a"}, taken(t, q, 1))
	require.Equal(t, []string{"b"}, taken(t, q, 1))
	group, open := q.Take(1)
	require.Empty(t, group)
	require.False(t, open)
}

func TestManyPlatformsShareTheQueue(t *testing.T) {
	q := New(100)
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
