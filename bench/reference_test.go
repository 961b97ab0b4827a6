package main

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

func TestReferencesAreDistinctUUIDs(t *testing.T) {
	for _, version := range []int{4, 7} {
		p := batchRequests(1, 10)
		seen := make(map[uuid.UUID]bool)
		var last string
		for stream := range uint64(20) {
			references := newReferences(9, stream, version)
			for range 50 {
				sent, made := patched(t, p, references)
				for i, at := range p.all[(p.sent.Load()-1)%batchBodies].references {
					text := string(sent[at : at+referenceLength])
					parsed, err := uuid.Parse(text)
					require.NoError(t, err)
					require.Equal(t, made[i], parsed)
					require.EqualValues(t, version, parsed.Version())
					require.Equal(t, uuid.RFC4122, parsed.Variant())
					require.False(t, seen[parsed], text)
					seen[parsed] = true
					if version == 7 {
						require.Greater(t, text, last)
						last = text
					}
				}
			}
		}
		require.Len(t, seen, 20*50*10)
	}
}

func TestSeedOfReferences(t *testing.T) {
	one, err := newReferences(1, 2, 4).next()
	require.NoError(t, err)
	same, err := newReferences(1, 2, 4).next()
	require.NoError(t, err)
	require.Equal(t, one, same)
	for _, other := range []*references{newReferences(2, 2, 4), newReferences(1, 3, 4)} {
		made, err := other.next()
		require.NoError(t, err)
		require.NotEqual(t, one, made)
	}
}

func TestTally(t *testing.T) {
	a, b, c := uuid.UUID{1}, uuid.UUID{15: 1}, uuid.UUID{7: 1}
	all := tallyOf(a, b, c)
	require.Equal(t, all, tallyOf(c, a, b))
	var merged tally
	merged.merge(tallyOf(c))
	merged.merge(tallyOf(b, a))
	require.Equal(t, all, merged)
	for name, other := range map[string]tally{
		"one is missing":                     tallyOf(a, b),
		"one is there twice":                 tallyOf(a, b, c, c),
		"one is there twice instead of one":  tallyOf(a, b, b),
		"one is another":                     tallyOf(a, b, uuid.UUID{8: 1}),
		"the halves of one are interchanged": tallyOf(a, b, uuid.UUID{15: 1}),
	} {
		require.NotEqual(t, all, other, name)
	}
}
