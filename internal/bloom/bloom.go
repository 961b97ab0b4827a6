// Package bloom has a Bloom filter in blocks of a cache line.
package bloom

import "math/bits"

// Filter never forgets a number, and has about a hundredth of the others by mistake.
type Filter struct {
	blocks [][8]uint64
	room   int
}

const (
	bitsPerNumber = 10
	bitsPerBlock  = 8 * 64
)

// New returns a filter of at most about maxBytes.
func New(capacity, maxBytes int) *Filter {
	n := min(capacity*bitsPerNumber, 8*maxBytes)/bitsPerBlock + 1
	return &Filter{make([][8]uint64, n), capacity}
}

// Add wants random numbers.
func (f *Filter) Add(number uint64) {
	f.visit(number, ^uint64(0))
	f.room--
}

// Has may be mistaken.
func (f *Filter) Has(number uint64) bool { return f.visit(number, 0) }

// Full reports whether the capacity is reached.
func (f *Filter) Full() bool { return f.room <= 0 }

func (f *Filter) visit(number, mask uint64) bool {
	hash := number * 0x9e3779b97f4a7c15
	n, _ := bits.Mul64(hash, uint64(len(f.blocks)))
	block := &f.blocks[n]
	known := true
	for range 6 {
		hash *= 0x9e3779b97f4a7c15
		word, bit := &block[hash>>61], uint64(1)<<(hash>>55&63)
		known = known && *word&bit != 0
		*word |= bit & mask
	}
	return known
}
