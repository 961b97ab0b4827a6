package sqlitestore

import (
	"example.com/chargeingest/internal/bloom"
	"example.com/chargeingest/internal/sortedrun"
)

const maxFilterBytes = 64 << 20

// filters spare most new references a search in the runs.
type filters struct {
	current *bloom.Filter // nil until one is complete

	next   *bloom.Filter // gets the chunks up to a position
	run    int64
	last   []byte
	oldest int64 // seq of an event
}

// add must see each reference before its run is committed.
func (f *filters) add(reference key) {
	for _, each := range []*bloom.Filter{f.current, f.next} {
		if each != nil {
			each.Add(reference.number())
		}
	}
}

func (f *filters) mayHave(reference key) bool {
	return f.current == nil || f.current.Has(reference.number())
}

// fillFilter reads a few chunks, so that the first transactions complete the filter. A merge
// moves entries to a run with a greater id than those of its inputs.
func (s *session) fillFilter() error {
	f := &s.filters
	if f.next == nil {
		if f.current != nil && !f.current.Full() {
			return nil
		}
		var err error
		if f.oldest, err = s.oldestSeq(); err != nil {
			return err
		}
		f.next = bloom.New(max(s.runs.minFilter, 2*int(s.recent.newest-f.oldest)), maxFilterBytes)
		f.run, f.last = 0, []byte{}
	}
	written := mergedPerEvent * s.recent.addedEvents() / s.runs.chunkEntries
	limit := 20 + 2*written
	rows, err := s.someChunks.query(f.run, f.last, int64(limit))
	for _, row := range rows {
		var entries []byte
		if err := scan(row, &f.run, &f.last, &entries); err != nil {
			return err
		}
		for ; len(entries) > 0; entries = entries[sortedrun.EntryBytes:] {
			e := sortedrun.Decode(entries)
			if kindOf(e.Number) != byReference {
				break
			}
			if e.Seq >= f.oldest {
				f.next.Add(e.Number)
			}
		}
	}
	if err == nil && len(rows) < limit {
		f.current, f.next = f.next, nil
	}
	return err
}
