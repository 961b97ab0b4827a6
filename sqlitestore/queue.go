package sqlitestore

import (
	"runtime"
	"slices"
	"sync"

	"example.com/chargeingest"
)

// request is a batch on its way to the writer.
type request struct {
	batch chargeingest.Batch
	done  chan answer // holds one, so that nobody waits for the caller
}

// answer is what Append returns.
type answer struct {
	receipt chargeingest.Receipt
	err     error
}

func newRequest(b chargeingest.Batch) *request {
	return &request{batch: b, done: make(chan answer, 1)}
}

// events is what the request counts in the queue; an empty one counts, too.
func (r *request) events() int { return max(1, len(r.batch.Events)) }

// queue holds the requests that wait for the writer, in a line for each
// platform. The platforms take turns, a request each.
type queue struct {
	limit int // of events

	// ready holds a token while there is something to take, and once the queue
	// is closed.
	ready chan struct{}

	mu     sync.Mutex
	lines  map[string]*line
	turns  []*line // the one whose turn it is first
	events int
	closed bool
}

// line is what waits of one platform; never empty.
type line struct {
	platform string
	requests []*request // the oldest first
	events   int
}

func newQueue(limit int) *queue {
	return &queue{limit: limit, ready: make(chan struct{}, 1), lines: make(map[string]*line)}
}

// push adds a request. Where the queue is full a platform that has more in it
// than this one would have makes room: of those, the longest line loses its
// newest requests. Else the error is chargeingest.ErrOverloaded, or ErrClosed.
func (q *queue) push(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return chargeingest.ErrClosed
	}
	victims, ok := q.victims(r)
	if !ok {
		return chargeingest.ErrOverloaded
	}
	for _, v := range victims {
		q.unlink(v)
		v.done <- answer{err: chargeingest.ErrOverloaded}
	}
	l := q.lines[r.batch.Platform]
	if l == nil {
		l = &line{platform: r.batch.Platform}
		q.lines[l.platform] = l
		q.turns = append(q.turns, l)
	}
	l.requests = append(l.requests, r)
	l.events += r.events()
	q.events += r.events()
	q.signal()
	return nil
}

// victims returns the requests that must go so that r has room, and whether
// they may.
func (q *queue) victims(r *request) (victims []*request, ok bool) {
	mine := r.events()
	if l := q.lines[r.batch.Platform]; l != nil {
		mine += l.events
	}
	type rest struct{ requests, events int }
	left := make(map[*line]rest)
	excess := q.events + r.events() - q.limit
	for excess > 0 && q.events > 0 {
		var longest *line
		most := rest{events: mine} // the line that loses must be longer
		for _, l := range q.turns {
			now, touched := left[l]
			if !touched {
				now = rest{len(l.requests), l.events}
			}
			if now.events > most.events {
				longest, most = l, now
			}
		}
		if longest == nil {
			return nil, false
		}
		victim := longest.requests[most.requests-1]
		victims = append(victims, victim)
		left[longest] = rest{most.requests - 1, most.events - victim.events()}
		excess -= victim.events()
	}
	return victims, true
}

// gather lets others run for as long as that brings more into the queue: those
// who are about to push would otherwise have to wait for a sync that they could
// share. Nobody waits for somebody who is not ready to run.
func (q *queue) gather(enough int) {
	for before := -1; ; {
		q.mu.Lock()
		now := q.events
		q.mu.Unlock()
		if now <= before || now >= enough {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// take returns requests in their turns, as many as have max events together,
// but at least one where there is one. Where the queue is closed and empty,
// open is false.
func (q *queue) take(max int) (group []*request, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := 0
	for len(q.turns) > 0 {
		l := q.turns[0]
		r := l.requests[0]
		if len(group) > 0 && events+r.events() > max {
			break
		}
		group = append(group, r)
		events += r.events()
		q.unlink(r)
		if len(l.requests) > 0 { // its turn is over
			q.turns = append(q.turns[1:], l)
		}
	}
	if q.events > 0 || q.closed {
		q.signal()
	}
	return group, len(group) > 0 || !q.closed
}

// remove takes a request out that nobody has taken, and says whether it did.
func (q *queue) remove(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[r.batch.Platform]
	if l == nil || !slices.Contains(l.requests, r) {
		return false
	}
	q.unlink(r)
	return true
}

// close refuses further requests. Those that wait can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// unlink removes a request from its line, and the line where it was the last.
func (q *queue) unlink(r *request) {
	l := q.lines[r.batch.Platform]
	l.requests = without(l.requests, slices.Index(l.requests, r))
	l.events -= r.events()
	q.events -= r.events()
	if len(l.requests) == 0 {
		delete(q.lines, l.platform)
		q.turns = without(q.turns, slices.Index(q.turns, l))
	}
}

// without removes entry i, at no cost where it is the first.
func without[T any](list []T, i int) []T {
	if i == 0 {
		clear(list[:1])
		return list[1:]
	}
	return slices.Delete(list, i, i+1)
}

// signal leaves a token for the writer.
func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
