package sqlitestore

import (
	"slices"
	"sync"

	"example.com/chargeingest"
)

// request is a batch that waits to be stored.
type request struct {
	batch chargeingest.Batch
	done  chan result // has room for the one result
	taken bool        // by the writer; guarded by the queue
}

type result struct {
	receipt chargeingest.Receipt
	err     error
}

// queue holds what waits for the writer, a line for each platform. Platforms
// take turns, and where the queue is full the longest line gives way, so that
// the flood of one tenant starves no other.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond
	lines  []*line // those that are not empty; the first has its turn
	jobs   []func()
	events int // that wait
	limit  int // of events
	closed bool
}

// line is what waits of one platform.
type line struct {
	platform string
	requests []*request
	events   int
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.filled.L = &q.mu
	return q
}

// push adds a request. It returns ErrClosed, or ErrOverloaded where there is
// no room and no other platform has a longer line. An empty queue takes any
// request, however large.
func (q *queue) push(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return chargeingest.ErrClosed
	}
	size := len(r.batch.Events)
	l := q.line(r.batch.Platform)
	for q.events > 0 && q.events+size > q.limit {
		longest := slices.MaxFunc(q.lines, func(a, b *line) int { return a.events - b.events })
		if l != nil && l.events+size >= longest.events || size >= longest.events {
			return chargeingest.ErrOverloaded
		}
		last := longest.requests[len(longest.requests)-1]
		q.drop(longest, len(longest.requests)-1)
		last.done <- result{err: chargeingest.ErrOverloaded}
	}
	if l == nil {
		l = &line{platform: r.batch.Platform}
		q.lines = append(q.lines, l)
	}
	l.requests = append(l.requests, r)
	l.events += size
	q.events += size
	q.filled.Signal()
	return nil
}

func (q *queue) line(platform string) *line {
	for _, l := range q.lines {
		if l.platform == platform {
			return l
		}
	}
	return nil
}

// drop takes the request at i out of a line.
func (q *queue) drop(l *line, i int) {
	size := len(l.requests[i].batch.Events)
	if i == 0 { // by far the most often, and with a long line behind it
		l.requests[0] = nil
		l.requests = l.requests[1:]
	} else {
		l.requests = slices.Delete(l.requests, i, i+1)
	}
	l.events -= size
	q.events -= size
	if len(l.requests) == 0 {
		q.lines = slices.DeleteFunc(q.lines, func(other *line) bool { return other == l })
	}
}

// remove takes a request out that still waits; false where it does not.
func (q *queue) remove(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.taken {
		return false
	}
	l := q.line(r.batch.Platform)
	if l == nil {
		return false
	}
	i := slices.Index(l.requests, r)
	if i < 0 {
		return false
	}
	q.drop(l, i)
	return true
}

// pushJob adds what the writer is to do between transactions.
func (q *queue) pushJob(job func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return chargeingest.ErrClosed
	}
	q.jobs = append(q.jobs, job)
	q.filled.Signal()
	return nil
}

// take waits for something to do and returns the jobs, and requests of up to
// most events, one of each platform in turn. Nothing of both is the end: the
// queue is closed and empty.
func (q *queue) take(most int) (jobs []func(), group []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.events == 0 && len(q.jobs) == 0 && !q.closed {
		q.filled.Wait()
	}
	jobs, q.jobs = q.jobs, nil
	for events := 0; len(q.lines) > 0; {
		l := q.lines[0]
		r := l.requests[0]
		size := len(r.batch.Events)
		if events > 0 && events+size > most {
			break
		}
		events += size
		r.taken = true
		group = append(group, r)
		q.drop(l, 0)
		if len(l.requests) > 0 { // to the end of the round
			q.lines = append(q.lines[1:], l)
		}
	}
	return jobs, group
}

// close lets nothing more in.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}
