package bloom

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilterForgetsNothing(t *testing.T) {
	const n = 1 << 20
	seed := rand.Uint64()
	t.Log("seed", seed)
	numbers := rand.New(rand.NewPCG(seed, seed))
	f := New(n, 64<<20)
	for range n {
		require.False(t, f.Full())
		f.Add(numbers.Uint64() >> 26) // as few bits as a key of sqlitestore has
	}
	require.True(t, f.Full())
	again := rand.New(rand.NewPCG(seed, seed))
	for range n {
		require.True(t, f.Has(again.Uint64()>>26))
	}
	mistakes := 0
	for range n {
		if f.Has(numbers.Uint64() >> 26) {
			mistakes++
		}
	}
	require.Less(t, mistakes, n/50)
}

func TestFilterIsBounded(t *testing.T) {
	f := New(1<<30, 1<<10)
	require.LessOrEqual(t, len(f.blocks)*64, 1<<10+64)
	f.Add(7)
	require.True(t, f.Has(7))
}
