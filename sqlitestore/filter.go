package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"hash/maphash"
	"io"
	"math/bits"
	"time"
)

// filter is a Bloom filter of the references in the table lookup, in blocks of a cache line.
// It spares most new references a search in SQL.
type filter struct {
	seed   maphash.Seed
	blocks [][8]uint64
	room   int // references until too many are found by mistake
}

const (
	minFilter      = 1 << 20 // references
	bitsPerItem    = 10
	bitsPerBlock   = 8 * 64
	maxFilterBytes = 64 << 20
)

func newFilter(seed maphash.Seed, references int) *filter {
	capacity := max(minFilter, 2*references)
	n := min(capacity*bitsPerItem, 8*maxFilterBytes) / bitsPerBlock
	return &filter{seed: seed, blocks: make([][8]uint64, n), room: capacity - references}
}

type mergedReference struct {
	platformID int64
	value      string
}

func (r mergedReference) hash(seed maphash.Seed) uint64 { return maphash.Comparable(seed, r) }

func (f *filter) add(hash uint64) { f.visit(hash, ^uint64(0)) }

func (f *filter) has(hash uint64) bool { return f.visit(hash, 0) }

func (f *filter) visit(hash, mask uint64) bool {
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
	late     []uint64 // hashes of references merged meanwhile
	seed     maphash.Seed
}

// merged must see each reference before its commit.
func (f *filters) merged(r mergedReference) {
	hash := r.hash(f.seed)
	if f.building {
		f.late = append(f.late, hash)
	}
	if f.current != nil {
		f.current.add(hash)
		f.current.room--
	}
}

// mayHave reports whether the reference may be in the table lookup.
func (f *filters) mayHave(r mergedReference) bool {
	return f.current == nil || f.current.has(r.hash(f.seed))
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
		case w.filtersBuilt <- builtFilter{w.readFilter(f.seed), f}:
		case <-w.stopped:
		}
	}()
}

// readFilter reads in steps, which the writer's checkpoints can interrupt. It returns nil once
// the store is closed.
func (s *Store) readFilter(seed maphash.Seed) *filter {
	var f *filter
	last := mergedReference{platformID: -1}
	step := func(ctx context.Context, tx *sql.Tx) error {
		if f == nil {
			var events int
			err := tx.QueryRowContext(ctx, "SELECT coalesce(1 + (SELECT max(seq) FROM events) - (SELECT min(seq) FROM events), 0)").Scan(&events)
			if err != nil {
				return err
			}
			f = newFilter(seed, events)
		}
		before := last
		err := eachRow(ctx, tx, func(rows *sql.Rows) error {
			if err := rows.Scan(&last.platformID, &last.value); err != nil {
				return err
			}
			f.add(last.hash(seed))
			return nil
		}, "SELECT platform, value FROM lookup WHERE kind = ? AND (platform, value) > (?, ?) ORDER BY platform, value LIMIT 5000", int(byReference), last.platformID, last.value)
		if err == nil && last == before {
			err = io.EOF
		}
		return err
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
	for _, hash := range b.of.late {
		b.add(hash)
	}
	b.of.current, b.of.building, b.of.late = b.filter, false, nil
}
