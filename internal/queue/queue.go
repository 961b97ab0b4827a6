// Package queue holds the batches that wait for a store's writer, in a line for
// each platform, so that one tenant's flood does not starve another.
package queue

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"example.com/chargeingest"
)

// maxGroupBytes bounds the content of a group's events: a store has all of it in
// memory a second time while it writes.
const maxGroupBytes = 16 << 20

// Request is a batch on its way to the writer.
type Request struct {
	Batch chargeingest.Batch
	done  chan Answer // holds one, so that nobody waits for the caller
}

// Answer is what Append returns.
type Answer struct {
	Receipt chargeingest.Receipt
	Err     error
}

func newRequest(b chargeingest.Batch) *Request {
	return &Request{Batch: b, done: make(chan Answer, 1)}
}

// Answer ends the request. Of several answers the first one counts.
func (r *Request) Answer(a Answer) {
	select {
	case r.done <- a:
	default:
	}
}

// events is what the request counts in the queue; an empty one counts, too.
func (r *Request) events() int { return max(1, len(r.Batch.Events)) }

// bytes is the content of its events.
func (r *Request) bytes() (n int) {
	for i := range r.Batch.Events {
		n += len(r.Batch.Events[i].Content)
	}
	return n
}

// Queue holds the requests that wait for the writer, in a line for each
// platform. The platforms take turns, a request each.
type Queue struct {
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
	requests []*Request // the oldest first
	events   int
}

// New returns an empty queue of at most limit events.
func New(limit int) *Queue {
	return &Queue{limit: limit, ready: make(chan struct{}, 1), lines: make(map[string]*line)}
}

// Ready has a token while there is something to take, and once the queue is
// closed.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Append queues a batch and waits for its answer, as EventStore.Append does. Where
// ctx ends first the error is ErrNotStored if nobody had taken the batch, and
// otherwise one that means unknown.
func (q *Queue) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return chargeingest.Receipt{}, notStored(err)
	}
	r := newRequest(b)
	if err := q.push(r); err != nil {
		return chargeingest.Receipt{}, err
	}
	select {
	case answer := <-r.done:
		return answer.Receipt, answer.Err
	case <-ctx.Done():
	}
	if q.remove(r) {
		return chargeingest.Receipt{}, notStored(ctx.Err())
	}
	select {
	case answer := <-r.done:
		return answer.Receipt, answer.Err
	default:
		return chargeingest.Receipt{}, fmt.Errorf("given up while the events were being stored: %w", ctx.Err())
	}
}

func notStored(cause error) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, cause)
}

// push adds a request. Where the queue is full a platform that has more in it
// than this one would have makes room: of those, the longest line loses its
// newest requests. Else the error is chargeingest.ErrOverloaded, or ErrClosed.
func (q *Queue) push(r *Request) error {
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
		v.Answer(Answer{Err: chargeingest.ErrOverloaded})
	}
	l := q.line(r.Batch.Platform)
	l.requests = append(l.requests, r)
	l.events += r.events()
	q.events += r.events()
	q.signal()
	return nil
}

// line is that of a platform, which is about to get something where it is new.
func (q *Queue) line(platform string) *line {
	l := q.lines[platform]
	if l == nil {
		l = &line{platform: platform}
		q.lines[platform] = l
		q.turns = append(q.turns, l)
	}
	return l
}

// victims returns the requests that must go so that r has room, and whether
// they may.
func (q *Queue) victims(r *Request) (victims []*Request, ok bool) {
	mine := r.events()
	if l := q.lines[r.Batch.Platform]; l != nil {
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

// Gather lets others run for as long as that brings more into the queue: those
// who are about to push would otherwise have to wait for a sync that they could
// share. Nobody waits for somebody who is not ready to run.
func (q *Queue) Gather(enough int) {
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

// Take returns requests in their turns, as many as have max events and
// maxGroupBytes of content together, but at least one where there is one. Where
// the queue is closed and empty, open is false.
func (q *Queue) Take(max int) (group []*Request, open bool) {
	return q.TakeExcept(max, func(string) bool { return false })
}

// TakeExcept is Take without the platforms that skip returns true for: their
// requests keep their position. While nothing else is queued there is no token for
// the writer, not even if the queue is closed, so the caller must come back on its own.
func (q *Queue) TakeExcept(max int, skip func(platform string) bool) (group []*Request, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	events, bytes, more := 0, 0, false
	for i := 0; i < len(q.turns); {
		l := q.turns[i]
		if skip(l.platform) {
			i++
			continue
		}
		r := l.requests[0]
		events, bytes = events+r.events(), bytes+r.bytes()
		if len(group) > 0 && (events > max || bytes > maxGroupBytes) {
			more = true
			break
		}
		group = append(group, r)
		q.unlink(r)
		if len(l.requests) > 0 { // its turn is over
			q.turns = append(without(q.turns, i), l)
		}
	}
	if more || q.closed && q.events == 0 {
		q.signal()
	}
	return group, len(group) > 0 || !q.closed || q.events > 0
}

// Return gives requests back that were taken, in their order, and of which nothing
// was stored: they are the first of their platforms again, and these have the first
// turns, so that nobody is passed over time and again.
func (q *Queue) Return(requests []*Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	back := make(map[*line][]*Request)
	var first []*line
	for _, r := range requests {
		l := q.line(r.Batch.Platform)
		if back[l] == nil {
			first = append(first, l)
		}
		back[l] = append(back[l], r)
		l.events += r.events()
		q.events += r.events()
	}
	for l, list := range back {
		l.requests = append(list, l.requests...)
	}
	others := slices.DeleteFunc(q.turns, func(l *line) bool { return back[l] != nil })
	q.turns = slices.Concat(first, others)
	if len(requests) > 0 {
		q.signal()
	}
}

// remove takes a request out that nobody has taken, and says whether it did.
func (q *Queue) remove(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[r.Batch.Platform]
	if l == nil || !slices.Contains(l.requests, r) {
		return false
	}
	q.unlink(r)
	return true
}

// Close refuses further requests. Those that wait can still be taken.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// unlink removes a request from its line, and the line where it was the last.
func (q *Queue) unlink(r *Request) {
	l := q.lines[r.Batch.Platform]
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
func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Depth is how much waits.
func (q *Queue) Depth() (requests, events int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.turns {
		requests += len(l.requests)
	}
	return requests, q.events
}
