package inspector

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"
)

// requestLog keeps the latest records of all platforms within limits, where 0 means none.
type requestLog struct {
	maxRequests int
	maxBytes    int64

	mu        sync.Mutex
	lastID    int64
	count     int
	bytes     int64
	platforms map[string]*platformLog
	queue     dropQueue
	waiting   map[string]chan struct{}
	counters  counters

	dropped sync.Pool // of small records that were never listed
}

type platformLog struct {
	name    string
	records []*record
	weight  int64
	index   int
}

// add assigns the id.
func (l *requestLog) add(r *record) {
	ended := r.time.Add(r.duration)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastID = nextID(l.lastID, r.time)
	r.id = l.lastID
	l.counters.add(r, ended)
	if l.maxBytes == 0 || r.size <= l.maxBytes {
		l.append(r)
	}
	for l.maxRequests > 0 && l.count > l.maxRequests || l.maxBytes > 0 && l.bytes > l.maxBytes {
		l.dropOne()
	}
	l.notify(r.stats.Platform)
}

func (l *requestLog) newRecord(now time.Time) *record {
	r, ok := l.dropped.Get().(*record)
	if !ok {
		r = new(record)
	}
	r.time = now
	return r
}

func nextID(last int64, t time.Time) int64 {
	const maxTime = 1 << 52
	if id := t.UnixMicro(); id > last && id < maxTime {
		return id
	}
	return last + 1
}

func (l *requestLog) append(r *record) {
	p := l.platforms[r.stats.Platform]
	if p == nil {
		if l.platforms == nil {
			l.platforms = make(map[string]*platformLog)
		}
		p = &platformLog{name: r.stats.Platform}
		l.platforms[p.name] = p
	}
	r.stats.Platform = p.name // one copy for all records
	p.records = append(p.records, r)
	p.weight += l.weight(r)
	l.count++
	l.bytes += r.size
	if len(p.records) == 1 {
		heap.Push(&l.queue, p)
	} else {
		heap.Fix(&l.queue, p.index)
	}
}

func (l *requestLog) weight(r *record) int64 {
	return r.size + l.maxBytes/int64(max(1, l.maxRequests))
}

func (l *requestLog) dropOne() {
	p := l.queue[0]
	r := p.records[0]
	p.records[0] = nil
	p.records = p.records[1:]
	p.weight -= l.weight(r)
	l.count--
	l.bytes -= r.size
	if len(p.records) == 0 {
		heap.Pop(&l.queue)
		delete(l.platforms, p.name)
	} else {
		heap.Fix(&l.queue, 0)
	}
	if !r.listed && cap(r.memory) <= pooledBytes {
		*r = record{memory: r.memory}
		l.dropped.Put(r)
	}
}

// dropQueue is a heap. Its first platform loses the next record: the one with the greatest
// weight or, if all have one record, the oldest.
type dropQueue []*platformLog

func (q dropQueue) Len() int { return len(q) }

func (q dropQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	last := len(a.records) == 1
	if last != (len(b.records) == 1) {
		return !last
	}
	if !last && a.weight != b.weight {
		return a.weight > b.weight
	}
	return a.records[0].id < b.records[0].id
}

func (q dropQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *dropQueue) Push(x any) {
	p := x.(*platformLog)
	p.index = len(*q)
	*q = append(*q, p)
}

func (q *dropQueue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return p
}

// list returns records with after < id < before, newest first. A bound of 0 does not apply.
func (l *requestLog) list(s scope, after, before int64, limit int) []*record {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, other := l.between(s.platform, after, before), []*record(nil)
	if s.unidentified && s.platform != "" {
		other = l.between("", after, before)
	}
	if limit = min(limit, len(own)+len(other)); limit == 0 {
		limit = len(own) + len(other)
	}
	found := make([]*record, 0, limit)
	for len(found) < limit {
		from := &own
		if len(own) == 0 || len(other) > 0 && other[len(other)-1].id > own[len(own)-1].id {
			from = &other
		}
		last := len(*from) - 1
		(*from)[last].listed = true
		found = append(found, (*from)[last])
		*from = (*from)[:last]
	}
	return found
}

func (l *requestLog) between(platform string, after, before int64) []*record {
	p := l.platforms[platform]
	if p == nil {
		return nil
	}
	records := p.records[searchID(p.records, after+1):]
	if before > 0 {
		records = records[:searchID(records, before)]
	}
	return records
}

func searchID(records []*record, id int64) int {
	i, _ := slices.BinarySearchFunc(records, id, func(r *record, id int64) int { return cmp.Compare(r.id, id) })
	return i
}

func (l *requestLog) get(s scope, id int64) *record {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, platform := range s.platforms() {
		if found := l.between(platform, id-1, 0); len(found) > 0 && found[0].id == id {
			found[0].listed = true
			return found[0]
		}
	}
	return nil
}

func (l *requestLog) newest(s scope) (id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, platform := range s.platforms() {
		if p := l.platforms[platform]; p != nil {
			id = max(id, p.records[len(p.records)-1].id)
		}
	}
	return id
}

func (l *requestLog) changed(platform string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait, ok := l.waiting[platform]
	if !ok {
		if l.waiting == nil {
			l.waiting = make(map[string]chan struct{})
		}
		wait = make(chan struct{})
		l.waiting[platform] = wait
	}
	return wait
}

func (l *requestLog) notify(platform string) {
	if changed, ok := l.waiting[platform]; ok {
		close(changed)
		delete(l.waiting, platform)
	}
}

type scope struct {
	platform     string
	unidentified bool // in addition
}

func (s scope) platforms() []string {
	if s.unidentified && s.platform != "" {
		return []string{s.platform, ""}
	}
	return []string{s.platform}
}

// activity returns the last 60 minutes, oldest first, and their refusals, most frequent first.
func (l *requestLog) activity(s scope, now time.Time) ([]minute, []refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counters.activity(s, now)
}
