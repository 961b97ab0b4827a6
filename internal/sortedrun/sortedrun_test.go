package sortedrun

import (
	"bytes"
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func randomNumbers(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Log("seed", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

func compare(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Seq, b.Seq))
}

func TestEntriesAreFound(t *testing.T) {
	random := randomNumbers(t)
	var entries []Entry
	for range 1000 {
		entries = append(entries, Entry{random.Uint64N(1<<Bits) >> random.IntN(Bits) << random.IntN(3), random.Int64N(MaxSeq+1) >> random.IntN(Bits)})
		entries[len(entries)-1].Number &= 1<<Bits - 1
	}
	entries = append(entries, Entry{1<<Bits - 1, MaxSeq}, Entry{})
	encoded := Sort(entries)
	require.True(t, slices.IsSortedFunc(entries, compare))
	require.Len(t, encoded, len(entries)*EntryBytes)
	for i, e := range entries {
		part := encoded[i*EntryBytes:]
		decoded := Decode(part)
		require.Equal(t, e, decoded)
		require.Equal(t, part[:EntryBytes], e.Append([]byte("before"))[len("before"):])
	}
	for range 1000 {
		low, high := entries[random.IntN(len(entries))], entries[random.IntN(len(entries))]
		var want []int64
		for _, e := range entries {
			if compare(e, low) >= 0 && compare(e, high) <= 0 {
				want = append(want, e.Seq)
			}
		}
		require.Equal(t, want, Between(encoded, low.Append(nil), high.Append(nil)))
	}
}

func TestMerge(t *testing.T) {
	random := randomNumbers(t)
	for range 300 {
		var all []Entry
		var inputs []Input
		chunks := make(map[int64][][]byte)
		var seq int64
		for run := range random.Int64N(5) {
			var entries []Entry
			for range random.IntN(40) {
				seq++
				entries = append(entries, Entry{random.Uint64N(10), seq})
			}
			all = append(all, entries...)
			for rest := Sort(entries); len(rest) > 0; {
				n := min(len(rest), (1+random.IntN(9))*EntryBytes)
				chunks[run] = append(chunks[run], rest[:n])
				rest = rest[n:]
			}
			inputs = append(inputs, Input{Run: run})
		}
		oldest := random.Int64N(seq + 1)
		all = slices.DeleteFunc(all, func(e Entry) bool { return e.Seq < oldest })
		left := func(in Input) [][]byte {
			return slices.DeleteFunc(slices.Clone(chunks[in.Run]), func(c []byte) bool { return bytes.Compare(c[len(c)-EntryBytes:], in.Last) <= 0 })
		}
		entriesLeft := func() (n int) {
			for _, in := range inputs {
				n += (len(in.Entries) + len(slices.Concat(left(in)...))) / EntryBytes
			}
			return n
		}
		n := 1 + random.IntN(20)
		var merged []byte
		for len(inputs) > 0 {
			before := entriesLeft()
			chunk, rest, err := Merge(inputs, n, oldest, func(in *Input) error {
				if next := left(*in); len(next) > 0 {
					in.Last, in.Entries = next[0][len(next[0])-EntryBytes:], next[0]
				}
				return nil
			})
			require.NoError(t, err)
			inputs = rest
			require.Equal(t, min(before, n), before-entriesLeft())
			merged = append(merged, chunk...)
		}
		require.Equal(t, Sort(all), append([]byte{}, merged...))
	}
}
