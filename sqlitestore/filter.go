package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"io"
	"math/bits"
	"time"
)

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

// filters builds filters in the background. It belongs to the writer's goroutine.
type filters struct {
	current  *filter // nil until one is built
	building bool
	late     []uint64 // numbers of references merged meanwhile
}

// merged must see each reference before its commit.
func (f *filters) merged(reference key) {
	if f.building {
		f.late = append(f.late, reference.number())
	}
	if f.current != nil {
		f.current.add(reference.number())
		f.current.room--
	}
}

// mayHave reports whether the reference may be in a run.
func (f *filters) mayHave(reference key) bool {
	return f.current == nil || f.current.has(reference.number())
}

type builtFilter struct {
	*filter
	of *filters
}

func (w *writer) buildFilterIfDue() {
	if w.session == nil || w.file.withoutFilter {
		return
	}
	f := &w.session.filters
	if f.building || f.current != nil && f.current.room > 0 {
		return
	}
	f.building, f.late = true, nil
	go func() {
		select {
		case w.filtersBuilt <- builtFilter{w.readFilter(), f}:
		case <-w.stopped:
		}
	}()
}

// readFilter reads in steps, which the writer's checkpoints can interrupt. It returns nil once
// the store is closed. A merge moves entries to a run with a greater id than those that it read.
func (s *Store) readFilter() *filter {
	var f *filter
	run, last := int64(0), []byte{}
	step := func(ctx context.Context, tx *sql.Tx) error {
		if f == nil {
			var events int
			err := tx.QueryRowContext(ctx, "SELECT coalesce(1 + (SELECT max(seq) FROM events) - (SELECT min(seq) FROM events), 0)").Scan(&events)
			if err != nil {
				return err
			}
			f = newFilter(events)
		}
		done := io.EOF
		err := eachRow(ctx, tx, func(rows *sql.Rows) error {
			done = nil
			var entries []byte
			if err := rows.Scan(&run, &last, &entries); err != nil {
				return err
			}
			for ; len(entries) > 0 && entryKind(entries) == byReference; entries = entries[entryBytes:] {
				f.add(entryNumber(entries))
			}
			return nil
		}, "SELECT run, last, entries FROM chunks WHERE (run, last) > (?, ?) ORDER BY run, last LIMIT 100", run, last)
		return cmp.Or(err, done)
	}
	for {
		switch err := s.read(s.running, "", true, step); {
		case errors.Is(err, io.EOF):
			return f
		case s.running.Err() != nil:
			return nil
		case err != nil:
			s.options.Logger.Warn("sqlitestore: references cannot be read ahead", "error", err)
			select {
			case <-s.running.Done():
			case <-time.After(s.file.recheckEvery):
			}
		}
	}
}

func (w *writer) filterBuilt(b builtFilter) {
	if w.session == nil || b.of != &w.session.filters || b.filter == nil {
		return
	}
	for _, number := range b.of.late {
		b.add(number)
	}
	b.of.current, b.of.building, b.of.late = b.filter, false, nil
}
