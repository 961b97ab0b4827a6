package sqlitestore

import "math/bits"

// filter is a Bloom filter of the references in runs, by the numbers of their keys, in blocks of
// a cache line. It spares most new references a search in SQL.
type filter struct {
	blocks [][8]uint64
	room   int // references until too many are found by mistake
}

const (
	minFilter      = 1 << 20 // references
	bitsPerItem    = 10
	bitsPerBlock   = 8 * 64
	maxFilterBytes = 64 << 20
)

func newFilter(references int) *filter {
	capacity := max(minFilter, 2*references)
	n := min(capacity*bitsPerItem, 8*maxFilterBytes) / bitsPerBlock
	return &filter{blocks: make([][8]uint64, n), room: capacity - references}
}

func (f *filter) add(number uint64) { f.visit(number, ^uint64(0)) }

func (f *filter) has(number uint64) bool { return f.visit(number, 0) }

func (f *filter) visit(number, mask uint64) bool {
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

// filters belongs to the writer's goroutine.
type filters struct {
	current *filter // nil until one is complete

	next *filter // gets the chunks up to a position
	run  int64
	last []byte
}

// add must see each reference before its run is committed.
func (f *filters) add(reference key) {
	for _, each := range []*filter{f.current, f.next} {
		if each != nil {
			each.add(reference.number())
			each.room--
		}
	}
}

// mayHave reports whether the reference may be in a run.
func (f *filters) mayHave(reference key) bool {
	return f.current == nil || f.current.has(reference.number())
}

// fillFilter reads a few chunks, so that the first transactions complete the filter. A merge
// moves entries to a run with a greater id than those of its inputs.
func (s *session) fillFilter() error {
	f := &s.filters
	if f.next == nil {
		if f.current != nil && f.current.room > 0 {
			return nil
		}
		oldest, err := s.oldestSeq()
		if err != nil {
			return err
		}
		f.next, f.run, f.last = newFilter(int(s.recent.newest-oldest)), 0, []byte{}
	}
	rows, err := s.someChunks.query(f.run, f.last)
	for _, row := range rows {
		var entries []byte
		if err := scan(row, &f.run, &f.last, &entries); err != nil {
			return err
		}
		for ; len(entries) > 0 && entryKind(entries) == byReference; entries = entries[entryBytes:] {
			f.next.add(entryNumber(entries))
		}
	}
	if err == nil && len(rows) == 0 {
		f.current, f.next = f.next, nil
	}
	return err
}
