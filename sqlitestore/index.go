package sqlitestore

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
)

// kind is the field of a lookup entry. Databases store its number.
type kind int

const (
	byReference kind = iota + 1
	byCustomerID
	byCustomerReference

	kinds = int(byCustomerReference)
)

func (k kind) column() string {
	return [kinds]string{"reference", "customer_id", "customer_reference"}[k-1]
}

// recentIndex finds the newest events, whose entries are not all in the table lookup yet.
//
// References are random: writing each entry at once would change a 4 KiB page per event.
// Instead, a generation of events is merged in key order, in which neighbors share pages, with
// a few entries per transaction. Opening rebuilds the index from the events.
//
// Only the writer changes the index. Readers see events after their commit. Other changes wait
// in txWrites for the commit, because an index ahead of the table would miss events.
type recentIndex struct {
	generationSize int
	minMerge       int

	mu     sync.RWMutex // of the fields below, for readers
	newest int64
	young  generation
	old    generation

	// For the writer only:

	merging    bool
	oldLast    int64
	committed  int          // of young.events, at the last commit
	sorted     chan []entry // sends the entries of old, then nil
	unmerged   []entry
	entriesDue int
	txWrites   txWrites
}

type txWrites struct {
	entries int     // first entries of unmerged
	merged  bool    // completely
	deleted []int64 // seqs
}

type recentEvent struct {
	seq        int64
	platformID int64
	platform   string
	values     [kinds]string // by kind - 1
}

func (e *recentEvent) value(k kind) string { return e.values[k-1] }

type generation struct {
	events     []recentEvent
	references map[reference]int64
}

type reference struct{ platform, value string }

type entry struct {
	kind       kind
	platformID int64
	value      string
	seq        int64
}

// An event has up to three entries: a generation is merged before the next is full.
const mergedPerEvent = 4

func newRecentIndex(t tuning, newest int64) *recentIndex {
	r := &recentIndex{generationSize: t.generationSize, minMerge: t.minMergeEntries, newest: newest}
	r.young.references = make(map[reference]int64)
	return r
}

func (r *recentIndex) nextSeq() int64 {
	return r.newest + int64(len(r.young.events)-r.committed) + 1
}

func (r *recentIndex) hasAdded() bool { return r.nextSeq() > r.newest+1 }

func (r *recentIndex) add(seq, platformID int64, platform string, e *chargeingest.NewEvent) {
	// The fields are often substrings of a large request.
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

// find includes events of the open transaction.
func (r *recentIndex) find(platform, value string) (seq int64, ok bool) {
	key := reference{platform, value}
	if seq, ok = r.young.references[key]; !ok {
		seq, ok = r.old.references[key]
	}
	return seq, ok
}

// nextMerge returns entries to merge in the open transaction. The last ones complete the merge
// up to lastSeq.
func (r *recentIndex) nextMerge() (entries []entry, last bool, lastSeq int64) {
	if r.sorted != nil {
		select {
		case r.unmerged = <-r.sorted:
			r.sorted = nil
		default:
			return nil, false, 0
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

func (r *recentIndex) commit() {
	if len(r.txWrites.deleted) > 0 && r.sorted != nil {
		r.unmerged, r.sorted = <-r.sorted, nil // before locking, so that readers do not wait
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	added := len(r.young.events) - r.committed
	r.committed = len(r.young.events)
	if added > 0 {
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

func (r *recentIndex) retireYoung() {
	r.old, r.young = r.young, generation{references: make(map[reference]int64, len(r.young.references))}
	r.merging, r.oldLast = true, r.old.lastSeq()
	r.committed, r.entriesDue, r.unmerged = 0, 0, nil
	sorted, events := make(chan []entry, 1), r.old.events
	r.sorted = sorted
	go func() { sorted <- sortedEntries(events) }()
}

// sortedEntries never returns nil.
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

// forget requires mu.
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

func (g *generation) except(isDeleted map[int64]bool) generation {
	rest := generation{references: make(map[reference]int64)}
	for _, e := range g.events {
		if !isDeleted[e.seq] {
			rest.add(e)
		}
	}
	return rest
}

type view struct {
	newest int64
	found  []int64 // ascending
}

// viewOf returns the recent events with a value. A transaction that begins later finds all
// others, up to newest, in the table lookup.
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
