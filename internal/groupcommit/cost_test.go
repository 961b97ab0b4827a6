package groupcommit

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestComparisons(t *testing.T) {
	const platforms = 10_000
	// A heap compares twice per level; a request of a new platform moves two queues.
	perRequest := 4 * bits.Len(platforms)
	q := flooded(platforms, 2_000)
	var group []*Request
	large := waiting("other", 1_000)
	for _, c := range []struct {
		name string
		work int // requests that are added, removed or moved
		do   func()
	}{
		{"an overloaded push that looked at 502 requests", 2 * 502, func() {
			require.ErrorIs(t, q.push(waiting("late", 1_500)), chargeingest.ErrOverloaded)
		}},
		{"a push that displaces 1,000 requests", 1_001, func() { require.NoError(t, q.push(large)) }},
		{"an overloaded push", 1, func() {
			require.ErrorIs(t, q.push(waiting("flood-0", 1_000)), chargeingest.ErrOverloaded)
		}},
		{"removing a request", 1, func() { require.True(t, q.remove(large)) }},
		{"a group", 1_000, func() { group, _ = q.Take(1_000, nil) }},
		{"requeueing a group", 1_000, func() { q.Requeue(group) }},
		{"pushes of other platforms", 100, func() {
			for i := range 100 {
				require.NoError(t, q.push(waiting(fmt.Sprint("new-", i), 1)))
			}
		}},
		{"the stats", 0, func() { q.Stats() }},
	} {
		before := q.largest.comparisons
		c.do()
		require.LessOrEqual(t, q.largest.comparisons-before, c.work*perRequest, c.name)
	}
}

func TestRequeueBeyondTheLimit(t *testing.T) {
	q := New(4, nil, nil)
	for range 4 {
		pushed(t, q, waiting("flood", 1))
	}
	group, _ := q.Take(4, nil)
	for range 4 {
		pushed(t, q, waiting("flood", 1))
	}
	q.Requeue(group)
	pushed(t, q, waiting("a", 2))
	require.Equal(t, 8, q.events, "a request displaces no more events than it has")
	require.ErrorIs(t, q.push(waiting("flood", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"a", "flood", "flood", "flood", "flood", "flood", "flood"}, sorted(taken(t, q, 10)))
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// model holds the expected requests by platform.
type model map[string][]*Request

func (m model) events() (n int) {
	for _, requests := range m {
		for _, r := range requests {
			n += r.events()
		}
	}
	return n
}

func (m model) drop(r *Request) {
	p := r.Batch.Platform
	m[p] = slices.DeleteFunc(m[p], func(other *Request) bool { return other == r })
}

func requireSame(t *testing.T, q *Queue, m model) {
	t.Helper()
	requests, events, platforms := 0, 0, 0
	for n := q.rotation.head; n != nil; n = n.next {
		p := n.owner
		platforms++
		require.Same(t, p, q.platforms[p.platform])
		require.Same(t, p, q.largest.queues[p.heapIndex])
		require.LessOrEqual(t, p.events, q.largest.queues[(p.heapIndex-min(p.heapIndex, 1))/2].events, "heap order")
		var queued []*Request
		platformEvents := 0
		for n := p.requests.head; n != nil; n = n.next {
			require.Same(t, p, n.owner.queue)
			queued = append(queued, n.owner)
			platformEvents += n.owner.events()
		}
		require.Equal(t, m[p.platform], queued)
		require.Equal(t, platformEvents, p.events)
		requests, events = requests+len(queued), events+platformEvents
	}
	require.Equal(t, m.events(), events)
	require.Len(t, q.platforms, platforms)
	require.Len(t, q.largest.queues, platforms)
	require.Equal(t, chargeingest.StoreStats{QueuedRequests: requests, QueuedEvents: events}, q.Stats())
}

func TestRandomOperations(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	q, m := New(40, nil, nil), make(model)
	var all []*Request
	for range 2_000 {
		switch random.IntN(4) {
		case 0:
			group, _ := q.Take(1+random.IntN(20), nil)
			for _, r := range group {
				require.Same(t, r, m[r.Batch.Platform][0], "the oldest of its platform")
				m.drop(r)
			}
			back := group[random.IntN(len(group)+1):]
			q.Requeue(back)
			for _, r := range slices.Backward(back) {
				m[r.Batch.Platform] = slices.Insert(m[r.Batch.Platform], 0, r)
			}
		case 1:
			if len(all) > 0 {
				r := all[random.IntN(len(all))]
				require.Equal(t, slices.Contains(m[r.Batch.Platform], r), q.remove(r))
				m.drop(r)
			}
		default:
			r := waiting(fmt.Sprint(random.IntN(6)), random.IntN(12))
			before := m.events()
			if q.push(r) != nil {
				break // every request that it displaced must be back
			}
			for _, other := range all {
				if len(other.done) > 0 {
					require.True(t, dropped(t, other))
					m.drop(other)
				}
			}
			m[r.Batch.Platform] = append(m[r.Batch.Platform], r)
			require.LessOrEqual(t, m.events(), max(40, before, r.events()))
			all = append(all, r)
		}
		requireSame(t, q, m)
	}
}
