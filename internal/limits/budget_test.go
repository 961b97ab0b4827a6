package limits

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBudget(t *testing.T) {
	reserve := func(b *Budget, platform string, n int64) (*Reservation, bool) {
		r := &Reservation{Budget: b, Platform: platform}
		return r, r.Resize(n)
	}
	t.Run("it never goes beyond its limit", func(t *testing.T) {
		b := NewBudget(10)
		first, ok := reserve(b, "a", 6)
		require.True(t, ok)
		second, ok := reserve(b, "b", 5)
		require.False(t, ok, "6 + 5 is beyond 10")
		require.True(t, second.Resize(4), "a refusal reserves nothing")
		require.False(t, first.Resize(7))
		require.EqualValues(t, 6, first.bytes, "a refusal changes nothing")
		require.True(t, first.Resize(0))
		require.True(t, second.Resize(5))
		require.True(t, second.Resize(0))
		require.Zero(t, b.used)
		require.Empty(t, b.byPlatform)
	})
	t.Run("one platform leaves an eighth to others", func(t *testing.T) {
		b := NewBudget(80)
		var greedy []*Reservation
		for range 7 {
			r, ok := reserve(b, "greedy", 10)
			require.True(t, ok)
			greedy = append(greedy, r)
		}
		_, ok := reserve(b, "greedy", 1)
		require.False(t, ok)
		require.False(t, greedy[0].Resize(11))
		modest, ok := reserve(b, "modest", 10)
		require.True(t, ok)
		_, ok = reserve(b, "late", 1)
		require.False(t, ok, "nothing is left")
		for _, r := range append(greedy, modest) {
			require.True(t, r.Resize(0))
		}
		_, ok = reserve(b, "large", 80)
		require.True(t, ok, "a platform that holds nothing gets all")
	})
	t.Run("a request that is alone always has room", func(t *testing.T) {
		b := NewBudget(10)
		r, ok := reserve(b, "a", 10)
		require.True(t, ok)
		require.True(t, r.Resize(25))
		_, ok = reserve(b, "b", 1)
		require.False(t, ok)
	})
}
