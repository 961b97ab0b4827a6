// Package sortedrun searches and merges sorted runs of entries.
package sortedrun

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// Numbers and seqs have 40 bits.
const (
	Bits       = 40
	EntryBytes = 2 * Bits / 8
	MaxSeq     = 1<<Bits - 1
)

// Entry has the number of a key and the seq of an event. Encoded entries compare as bytes.
type Entry struct {
	Number uint64
	Seq    int64
}

// Append encodes.
func (e Entry) Append(to []byte) []byte {
	to = binary.BigEndian.AppendUint64(to, e.Number<<(64-Bits))
	to = binary.BigEndian.AppendUint64(to[:len(to)-8+Bits/8], uint64(e.Seq)<<(64-Bits))
	return to[:len(to)-8+Bits/8]
}

// Decode decodes the first entry.
func Decode(entries []byte) Entry { return Entry{number(entries), seq(entries)} }

func number(e []byte) uint64 { return binary.BigEndian.Uint64(e) >> (64 - Bits) }

func seq(e []byte) int64 { return int64(binary.BigEndian.Uint64(e[EntryBytes-8:]) & MaxSeq) }

// Sort sorts and encodes entries.
func Sort(entries []Entry) []byte {
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Seq, b.Seq))
	})
	encoded := make([]byte, 0, len(entries)*EntryBytes+8)
	for _, e := range entries {
		encoded = e.Append(encoded)
	}
	return encoded
}

// Between returns the seqs of the entries from low to high.
func Between(entries, low, high []byte) (seqs []int64) {
	n := len(entries) / EntryBytes
	at := func(i int) []byte { return entries[i*EntryBytes:][:EntryBytes] }
	for i := sort.Search(n, func(i int) bool { return bytes.Compare(at(i), low) >= 0 }); i < n && bytes.Compare(at(i), high) <= 0; i++ {
		seqs = append(seqs, seq(at(i)))
	}
	return seqs
}

// Input is a run, which is read in chunks.
type Input struct {
	Run     int64
	Last    []byte // entry of the chunk
	Entries []byte // left of the chunk
}

// Merge merges n entries. It returns those whose seqs are at least oldest, and the inputs left.
// Each run has smaller seqs than the next. At the end of a run, read leaves the input empty.
func Merge(inputs []Input, n int, oldest int64, read func(*Input) error) ([]byte, []Input, error) {
	merged := make([]byte, 0, n*EntryBytes)
	for i := 0; ; {
		for i < len(inputs) && len(inputs[i].Entries) > 0 {
			i++
		}
		if i < len(inputs) {
			if err := read(&inputs[i]); err != nil {
				return nil, nil, err
			}
			if len(inputs[i].Entries) == 0 {
				inputs = slices.Delete(inputs, i, i+1)
			}
			continue
		}
		if n == 0 || len(inputs) == 0 {
			return merged, inputs, nil
		}
		n--
		least := 0
		for i := range inputs {
			if number(inputs[i].Entries) < number(inputs[least].Entries) {
				least = i
			}
		}
		in := &inputs[least]
		if seq(in.Entries) >= oldest {
			merged = append(merged, in.Entries[:EntryBytes]...)
		}
		in.Entries = in.Entries[EntryBytes:]
		i = least
	}
}
