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

func TestComparisonsAreBoundedByTheWork(t *testing.T) {
	const platforms = 10_000
	// A heap compares twice a level. A request of a new platform moves two lines.
	perRequest := 4 * bits.Len(platforms)
	q := flooded(platforms, 2_000)
	var group []*Request
	large := waiting("other", 1_000)
	for _, c := range []struct {
		name string
		work int // requests that are added, removed or moved
		do   func()
	}{
		{"a push that is refused after 502 requests", 2 * 502, func() {
			require.ErrorIs(t, q.push(waiting("late", 1_500)), chargeingest.ErrOverloaded)
		}},
		{"a push that displaces 1,000 requests", 1_001, func() { require.NoError(t, q.push(large)) }},
		{"a push that is refused at once", 1, func() {
			require.ErrorIs(t, q.push(waiting("flood-0", 1_000)), chargeingest.ErrOverloaded)
		}},
		{"removing a request", 1, func() { require.True(t, q.remove(large)) }},
		{"a group", 1_000, func() { group, _ = q.Take(1_000) }},
		{"returning a group", 1_000, func() { q.Return(group) }},
		{"pushes of other platforms", 100, func() {
			for i := range 100 {
				require.NoError(t, q.push(waiting(fmt.Sprint("new-", i), 1)))
			}
		}},
		{"the depth", 0, func() { q.Depth() }},
	} {
		before := q.longest.compared
		c.do()
		require.LessOrEqual(t, q.longest.compared-before, c.work*perRequest, c.name)
	}
}

func TestReturnBeyondTheLimit(t *testing.T) {
	q := New(4)
	for range 4 {
		pushed(t, q, waiting("flood", 1))
	}
	group, _ := q.Take(4)
	for range 4 {
		pushed(t, q, waiting("flood", 1))
	}
	q.Return(group)
	pushed(t, q, waiting("a", 2))
	require.Equal(t, 8, q.events, "a request displaces no more events than it has")
	require.ErrorIs(t, q.push(waiting("flood", 1)), chargeingest.ErrOverloaded)
	require.Equal(t, []string{"a", "flood", "flood", "flood", "flood", "flood", "flood"}, sorted(taken(t, q, 10)))
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// model holds the requests of each platform, as the queue should.
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

// requireSame holds the queue to the model, and its parts to each other.
func requireSame(t *testing.T, q *Queue, m model) {
	t.Helper()
	requests, events, lines := 0, 0, 0
	for n := q.turns.head; n != nil; n = n.next {
		l := n.owner
		lines++
		require.Same(t, l, q.lines[l.platform])
		require.Same(t, l, q.longest.lines[l.index])
		require.LessOrEqual(t, l.events, q.longest.lines[(l.index-min(l.index, 1))/2].events, "the parent is longer")
		var queued []*Request
		mine := 0
		for n := l.requests.head; n != nil; n = n.next {
			require.Same(t, l, n.owner.line)
			queued = append(queued, n.owner)
			mine += n.owner.events()
		}
		require.Equal(t, m[l.platform], queued)
		require.Equal(t, mine, l.events)
		requests, events = requests+len(queued), events+mine
	}
	require.Equal(t, m.events(), events)
	require.Len(t, q.lines, lines)
	require.Len(t, q.longest.lines, lines)
	gotRequests, gotEvents := q.Depth()
	require.Equal(t, []int{requests, events}, []int{gotRequests, gotEvents})
}

func TestRandomOperations(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	q, m := New(40), make(model)
	var all []*Request
	for range 2_000 {
		switch random.IntN(4) {
		case 0:
			group, _ := q.Take(1 + random.IntN(20))
			for _, r := range group {
				require.Same(t, r, m[r.Batch.Platform][0], "the oldest of its platform")
				m.drop(r)
			}
			back := group[random.IntN(len(group)+1):]
			q.Return(back)
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
				break // what it displaced on trial must be back
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
