package sqlitestore

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
)

// kind is what an entry of the table lookup finds events by. Its numbers are in
// databases.
type kind int

const (
	byReference kind = iota + 1
	byCustomerID
	byCustomerReference

	kinds = int(byCustomerReference)
)

// recent is what the newest events are found by: those whose entries are not,
// or not all, in the table lookup yet.
//
// References come in no order. To write the entry of each at once is to change
// one more page of four kilobytes for every event, first in the write-ahead log
// and then in the database. So the entries of a whole generation of events wait
// here, and are then merged into the table in the order of their keys, where
// neighbours share a page: a few with each transaction, so that none takes
// longer than the others. The events themselves are the log that all of this is
// read from again when the database is opened.
//
// The writer alone changes it. It adds the events of a transaction as it
// inserts them; readers see them after the commit. Everything else changes in
// commit, and only by what the transaction has recorded in written: memory that
// is ahead of the table loses events.
type recentIndex struct {
	generationSize int // events of a generation
	minMerge       int // see tuning.mergeAtOnce

	mu     sync.RWMutex // held to change what follows, and by others to read it
	newest int64        // the last place that was committed
	young  generation
	old    generation // whose entries are being merged

	// What follows is the writer's alone.

	merging    bool         // there is an old generation
	oldLast    int64        // its last place
	committed  int          // of the events of young
	sorted     chan []entry // yields the entries of old, once; then nil
	unmerged   []entry      // of old, in the order of their keys
	entriesDue int          // entries that are due to be merged
	txWrites   txWrites     // by the open transaction
}

// written is what a transaction wrote besides its events.
type txWrites struct {
	entries int     // of unmerged, from its beginning
	merged  bool    // that the old generation is merged
	deleted []int64 // positions
}

// recentEvent is what an event is found by.
type recentEvent struct {
	seq        int64
	platformID int64 // of the platform
	platform   string
	values     [kinds]string // by kind - 1; empty where not set
}

func (e *recentEvent) value(k kind) string { return e.values[k-1] }

// generation is some events that followed one another.
type generation struct {
	events     []recentEvent // in the order of storing
	references map[reference]int64
}

// reference is the key that is unique.
type reference struct{ platform, value string }

// entry is a row of the table lookup.
type entry struct {
	kind       kind
	platformID int64 // of the platform
	value      string
	seq        int64
}

// Merging keeps ahead of what comes in: an event has three entries at the most,
// so that four for each event finish a generation before the next is full.
const mergedPerEvent = 4

func newRecentIndex(t tuning, newest int64) *recentIndex {
	r := &recentIndex{generationSize: t.generationSize, minMerge: t.minMergeEntries, newest: newest}
	r.young.references = make(map[reference]int64)
	return r
}

// next returns the place of the next event of the open transaction.
func (r *recentIndex) nextSeq() int64 {
	return r.newest + int64(len(r.young.events)-r.committed) + 1
}

// hasAdded reports whether the open transaction has events.
func (r *recentIndex) hasAdded() bool { return r.nextSeq() > r.newest+1 }

// add takes an event of the open transaction in.
func (r *recentIndex) add(seq, platformID int64, platform string, e *chargeingest.NewEvent) {
	// The text of an event is often a part of a large one.
	added := recentEvent{seq: seq, platformID: platformID, platform: platform, values: [kinds]string{
		strings.Clone(e.Reference), strings.Clone(e.CustomerID), strings.Clone(e.CustomerReference),
	}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.young.add(added)
}

func (g *generation) add(e recentEvent) {
	g.events = append(g.events, e)
	if value := e.value(byReference); value != "" {
		g.references[reference{e.platform, value}] = e.seq
	}
}

// find returns the place of the event with a reference, the writer's own
// uncommitted ones included.
func (r *recentIndex) find(platform, value string) (seq int64, ok bool) {
	key := reference{platform, value}
	if seq, ok = r.young.references[key]; !ok {
		seq, ok = r.old.references[key]
	}
	return seq, ok
}

// due returns the entries that the open transaction is to merge, and whether
// they are the last of their generation, which is then merged up to through.
func (r *recentIndex) nextMerge() (entries []entry, last bool, lastSeq int64) {
	if r.sorted != nil {
		select {
		case r.unmerged = <-r.sorted:
			r.sorted = nil
		default:
			return nil, false, 0 // it will be owed
		}
	}
	due := r.entriesDue + mergedPerEvent*(len(r.young.events)-r.committed)
	if !r.merging || due < min(r.minMerge, len(r.unmerged)) {
		return nil, false, 0
	}
	entries = r.unmerged[:min(due, len(r.unmerged))]
	return entries, len(entries) == len(r.unmerged), r.oldLast
}

func (g *generation) lastSeq() int64 { return g.events[len(g.events)-1].seq }

// commit takes over what the open transaction wrote.
func (r *recentIndex) commit() {
	if len(r.txWrites.deleted) > 0 && r.sorted != nil {
		r.unmerged, r.sorted = <-r.sorted, nil // readers do not wait for it
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	added := len(r.young.events) - r.committed
	r.committed = len(r.young.events)
	if added > 0 {
		// When a database is opened, a newer one may have been pruned.
		r.newest = max(r.newest, r.young.lastSeq())
	}
	if r.merging {
		r.entriesDue += mergedPerEvent*added - r.txWrites.entries
		r.unmerged = r.unmerged[r.txWrites.entries:]
		if r.txWrites.merged {
			r.old, r.merging = generation{}, false
		}
	}
	r.forget(r.txWrites.deleted)
	r.txWrites = txWrites{}
	if !r.merging && len(r.young.events) >= r.generationSize {
		r.retireYoung()
	}
}

// age makes the young generation the old one.
func (r *recentIndex) retireYoung() {
	r.old, r.young = r.young, generation{references: make(map[reference]int64, len(r.young.references))}
	r.merging, r.oldLast = true, r.old.lastSeq()
	r.committed, r.entriesDue, r.unmerged = 0, 0, nil
	sorted, events := make(chan []entry, 1), r.old.events
	r.sorted = sorted
	go func() { sorted <- sortedEntries(events) }()
}

// entries returns the entries of events in the order of their keys; never nil.
func sortedEntries(events []recentEvent) []entry {
	list := make([]entry, 0, 2*len(events))
	for i := range events {
		e := &events[i]
		for k := byReference; int(k) <= kinds; k++ {
			if value := e.value(k); value != "" {
				list = append(list, entry{k, e.platformID, value, e.seq})
			}
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.platformID, b.platformID), strings.Compare(a.value, b.value), cmp.Compare(a.seq, b.seq))
	})
	return list
}

// rollback forgets the events of the open transaction.
func (r *recentIndex) rollback() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := r.committed; i < len(r.young.events); i++ {
		e := &r.young.events[i]
		delete(r.young.references, reference{e.platform, e.value(byReference)})
	}
	r.young.events = slices.Delete(r.young.events, r.committed, len(r.young.events))
	r.txWrites = txWrites{}
}

// forget removes deleted events. The caller holds mu.
func (r *recentIndex) forget(deleted []int64) {
	first := r.old.events
	if len(first) == 0 {
		first = r.young.events
	}
	if len(first) == 0 || len(deleted) == 0 || slices.Max(deleted) < first[0].seq {
		return
	}
	isDeleted := make(map[int64]bool, len(deleted))
	for _, seq := range deleted {
		isDeleted[seq] = true
	}
	r.old, r.young = r.old.except(isDeleted), r.young.except(isDeleted)
	r.committed = len(r.young.events)
	r.unmerged = slices.DeleteFunc(r.unmerged, func(e entry) bool { return isDeleted[e.seq] })
}

// without returns the generation without some events.
func (g *generation) except(isDeleted map[int64]bool) generation {
	rest := generation{references: make(map[reference]int64)}
	for _, e := range g.events {
		if !isDeleted[e.seq] {
			rest.add(e)
		}
	}
	return rest
}

// view is what a listing has to know of the recent events.
type view struct {
	newest int64   // the last place that was committed
	found  []int64 // places of the recent events with the value, in order
}

// look returns the recent events that are found by a value; by none where it is
// empty. A transaction that begins afterwards finds all others that have the
// value, up to the newest, in the table lookup.
func (r *recentIndex) viewOf(platform string, k kind, value string) view {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v := view{newest: r.newest}
	if value == "" {
		return v
	}
	for _, g := range []*generation{&r.old, &r.young} {
		for i := range g.events {
			e := &g.events[i]
			if e.seq <= r.newest && e.value(k) == value && e.platform == platform {
				v.found = append(v.found, e.seq)
			}
		}
	}
	return v
}
