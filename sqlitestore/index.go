package sqlitestore

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sortedrun"
)

// kind is an indexed field.
type kind int

const (
	byReference kind = iota + 1
	byCustomerID
	byCustomerReference

	kinds = int(byCustomerReference)
)

func (k kind) field() string {
	return [kinds]string{"reference", "customer_id", "customer_reference"}[k-1]
}

// key has two bits of the kind and 126 of a hash. Databases store only its first bits, so that
// matches must be compared with the event.
type key [16]byte

func (k key) number() uint64 { return binary.BigEndian.Uint64(k[:]) >> (64 - sortedrun.Bits) }

func kindOf(number uint64) kind { return kind(number >> (sortedrun.Bits - 2)) }

func (k key) entry(seq int64) []byte {
	return sortedrun.Entry{Number: k.number(), Seq: seq}.Append(nil)
}

// keys needs a secret, because clients could otherwise choose values with equal hashes.
type keys struct{ secret []byte }

func (s keys) of(k kind, platform, value string) key {
	text := append(make([]byte, 0, 256), s.secret...)
	text = binary.AppendUvarint(text, uint64(len(platform)))
	text = append(append(text, platform...), value...)
	sum := sha256.Sum256(text)
	sum[0] = sum[0]&0x3f | byte(k)<<6
	return key(sum[:])
}

// recentIndex finds the newest events, which are not in a run yet. Opening rebuilds it.
//
// Only the writer changes the index. Readers see events after their commit. Entries of deleted
// events stay: they find nothing.
type recentIndex struct {
	keys
	generationSize int

	mu     sync.RWMutex // of the fields below, for readers
	newest int64
	young  generation
	old    generation // is becoming a run

	// For the writer only:

	last      int64 // seq in the open transaction
	committed int   // of young.entries, at the last commit
	added     []key // references of the open transaction
}

type generation struct {
	events     int
	entries    []sortedrun.Entry
	references map[key]int64 // to seq
}

func newRecentIndex(t tuning, secret []byte, newest int64) *recentIndex {
	r := &recentIndex{keys: keys{secret}, generationSize: t.generationSize, newest: newest, last: newest}
	r.young.references = make(map[key]int64)
	return r
}

func (r *recentIndex) nextSeq() int64 { return r.last + 1 }

func (r *recentIndex) addedEvents() int { return int(r.last - r.newest) }

func (r *recentIndex) add(platform string, e *chargeingest.NewEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.addToYoung(r.last, platform, e.Reference, e.CustomerID, e.CustomerReference)
}

// addToYoung requires mu.
func (r *recentIndex) addToYoung(seq int64, platform string, values ...string) {
	g := &r.young
	g.events++
	for i, value := range values {
		if value == "" {
			continue
		}
		k := kind(i + 1)
		key := r.of(k, platform, value)
		g.entries = append(g.entries, sortedrun.Entry{Number: key.number(), Seq: seq})
		if k == byReference {
			g.references[key] = seq
			r.added = append(r.added, key)
		}
	}
}

// find includes events of the open transaction.
func (r *recentIndex) find(reference key) (seq int64, ok bool) {
	if seq, ok = r.young.references[reference]; !ok {
		seq, ok = r.old.references[reference]
	}
	return seq, ok
}

func (r *recentIndex) commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest, r.committed, r.added = r.last, len(r.young.entries), r.added[:0]
}

func (r *recentIndex) rollback() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reference := range r.added {
		delete(r.young.references, reference)
	}
	r.young.events -= r.addedEvents()
	r.young.entries = r.young.entries[:r.committed]
	r.last, r.added = r.newest, r.added[:0]
}

// retire returns the entries of the young generation.
func (r *recentIndex) retire() []byte {
	r.mu.Lock()
	r.old, r.young = r.young, generation{references: make(map[key]int64, len(r.young.references))}
	r.committed, r.added = 0, nil
	r.mu.Unlock()
	return sortedrun.Sort(slices.Clone(r.old.entries)) // readers use the list
}

func (r *recentIndex) forgetOld() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old = generation{}
}

type view struct {
	newest int64
	key    key
	found  []int64 // ascending
}

// viewOf returns the recent events with a value, and perhaps others. A transaction that begins
// later finds all others, up to newest, in the runs.
func (r *recentIndex) viewOf(platform string, k kind, value string) view {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v := view{newest: r.newest}
	if value == "" {
		return v
	}
	v.key = r.of(k, platform, value)
	number := v.key.number()
	for _, g := range []*generation{&r.old, &r.young} {
		for _, e := range g.entries {
			if e.Number == number && e.Seq <= r.newest {
				v.found = append(v.found, e.Seq)
			}
		}
	}
	return v
}
