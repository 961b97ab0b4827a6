// Package groupcommit holds the batches that wait for a store's writer, in a line for
// each platform, so that one tenant's flood does not starve another.
package groupcommit

import (
	"container/heap"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// maxGroupBytes bounds the content of a group's events: a store has all of it in
// memory a second time while it writes.
const maxGroupBytes = 16 << 20

// Request is a batch on its way to the writer.
type Request struct {
	storekit.Attempt
	done chan Answer // holds one, so that Answer never blocks

	size int           // of the content of its events, in bytes
	line *line         // nil unless the request is queued
	node node[Request] // in the line
}

// Answer is what Append returns.
type Answer struct {
	Receipt chargeingest.AppendResult
	Err     error
}

func newRequest(a storekit.Attempt) *Request {
	r := &Request{Attempt: a, done: make(chan Answer, 1)}
	for i := range a.Events {
		r.size += len(a.Events[i].Content)
	}
	return r
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

// Queue holds the requests that wait for the writer, in a line for each
// platform. The platforms take turns, a request each.
//
// The lock is never held for longer than the work takes: an operation looks at
// the requests that it adds, removes or moves, and for each of them at
// log(platforms) lines at most.
type Queue struct {
	limit int // of events

	// ready holds a token while there is something to take, and once the queue
	// is closed.
	ready chan struct{}

	mu       sync.Mutex
	lines    map[string]*line
	turns    list[line] // the line whose turn it is first
	longest  longest
	requests int
	events   int
	closed   bool
}

// line holds the requests of one platform. It is in the queue while it has any.
type line struct {
	platform string
	requests list[Request] // the oldest first
	events   int
	node     node[line] // in turns
	index    int        // in longest
}

// longest is a heap of the lines, the one with the most events first.
type longest struct {
	lines    []*line
	compared int // comparisons so far, which a test bounds
}

// The methods of [heap.Interface].
func (h *longest) Len() int { return len(h.lines) }

func (h *longest) Less(i, j int) bool {
	h.compared++
	return h.lines[i].events > h.lines[j].events
}

func (h *longest) Swap(i, j int) {
	h.lines[i], h.lines[j] = h.lines[j], h.lines[i]
	h.lines[i].index, h.lines[j].index = i, j
}

func (h *longest) Push(x any) {
	l := x.(*line)
	l.index = len(h.lines)
	h.lines = append(h.lines, l)
}

func (h *longest) Pop() any {
	end := len(h.lines) - 1
	l := h.lines[end]
	h.lines[end] = nil
	h.lines = h.lines[:end]
	return l
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
func (q *Queue) Append(ctx context.Context, a storekit.Attempt) (chargeingest.AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	r := newRequest(a)
	if err := q.push(r); err != nil {
		return chargeingest.AppendResult{}, err
	}
	select {
	case answer := <-r.done:
		return answer.Receipt, answer.Err
	case <-ctx.Done():
	}
	if q.remove(r) {
		return chargeingest.AppendResult{}, notStored(ctx.Err())
	}
	select {
	case answer := <-r.done:
		return answer.Receipt, answer.Err
	default:
		return chargeingest.AppendResult{}, fmt.Errorf("%w: the call ended while the events were being stored: %w", chargeingest.ErrOutcomeUnknown, ctx.Err())
	}
}

func notStored(cause error) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, cause)
}

// push queues a request if there is room for it, or if makeRoom makes room.
// Otherwise the error is chargeingest.ErrOverloaded, or ErrClosed.
func (q *Queue) push(r *Request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return chargeingest.ErrClosed
	}
	if !q.makeRoom(r) {
		return chargeingest.ErrOverloaded
	}
	l := q.lineOf(r)
	l.requests.pushBack(&r.node, r)
	q.added(r, l)
	q.signal()
	return nil
}

// makeRoom drops requests until r has room, and reports whether it has. The
// longest line loses its newest request each time, if it is longer than the line
// of r would become; if it is not, nothing is dropped.
//
// At most as many events as r has make room for it. A queue that Return has
// filled beyond its limit therefore stays there until the writer has taken some.
func (q *Queue) makeRoom(r *Request) bool {
	mine := r.events()
	if l := q.lines[r.Batch.Platform]; l != nil {
		mine += l.events
	}
	excess := min(q.events+r.events()-q.limit, r.events())
	var dropped []*Request
	var from []*line
	for excess > 0 && q.events > 0 {
		l := q.longest.lines[0]
		if l.events <= mine {
			for i := len(dropped) - 1; i >= 0; i-- {
				from[i].requests.pushBack(&dropped[i].node, dropped[i])
				q.added(dropped[i], from[i])
			}
			return false
		}
		victim := l.requests.last()
		q.unlink(victim)
		dropped, from = append(dropped, victim), append(from, l)
		excess -= victim.events()
	}
	for i, victim := range dropped {
		q.dropIfEmpty(from[i])
		victim.Answer(Answer{Err: chargeingest.ErrOverloaded})
	}
	return true
}

// lineOf returns the line that r belongs in, which is new if its platform has none.
func (q *Queue) lineOf(r *Request) *line {
	l := q.lines[r.Batch.Platform]
	if l == nil {
		l = &line{platform: r.Batch.Platform}
		q.lines[l.platform] = l
		q.turns.pushBack(&l.node, l)
		heap.Push(&q.longest, l)
	}
	return l
}

// added counts a request that was put into a line.
func (q *Queue) added(r *Request, l *line) {
	r.line = l
	l.events += r.events()
	q.events += r.events()
	q.requests++
	heap.Fix(&q.longest, l.index)
}

// unlink removes a request from its line, which may be empty then.
func (q *Queue) unlink(r *Request) {
	l := r.line
	r.line = nil
	l.requests.remove(&r.node)
	l.events -= r.events()
	q.events -= r.events()
	q.requests--
	heap.Fix(&q.longest, l.index)
}

// dropIfEmpty removes a line without requests from the queue.
func (q *Queue) dropIfEmpty(l *line) {
	if l.requests.empty() && q.lines[l.platform] == l {
		delete(q.lines, l.platform)
		q.turns.remove(&l.node)
		heap.Remove(&q.longest, l.index)
	}
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
// maxGroupBytes of content together, but at least one unless the queue is empty.
// If the queue is closed and empty, open is false.
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
	for n := q.turns.head; n != nil; {
		l := n.owner
		if skip(l.platform) {
			n = n.next
			continue
		}
		r := l.requests.first()
		events, bytes = events+r.events(), bytes+r.size
		if len(group) > 0 && (events > max || bytes > maxGroupBytes) {
			more = true
			break
		}
		group = append(group, r)
		q.unlink(r)
		next := n.next
		q.turns.remove(n) // its turn is over
		q.turns.pushBack(n, l)
		if q.dropIfEmpty(l); next == nil && !l.requests.empty() {
			next = n // the only line that is not skipped
		}
		n = next
	}
	if more || q.closed && q.events == 0 {
		q.signal()
	}
	return group, len(group) > 0 || !q.closed || q.events > 0
}

// Return puts requests back that were taken and of which nothing was stored, in
// the order in which Take returned them. They are the first of their platforms
// again and these have the first turns, so that no request is passed over for ever.
func (q *Queue) Return(requests []*Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range slices.Backward(requests) {
		l := q.lineOf(r)
		l.requests.pushFront(&r.node, r)
		q.added(r, l)
		q.turns.remove(&l.node)
		q.turns.pushFront(&l.node, l)
	}
	if len(requests) > 0 {
		q.signal()
	}
}

// remove removes a queued request, and reports whether it was queued still.
func (q *Queue) remove(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := r.line
	if l == nil {
		return false
	}
	q.unlink(r)
	q.dropIfEmpty(l)
	return true
}

// Close refuses further requests. Those that wait can still be taken.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// signal leaves a token for the writer.
func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Depth returns how many requests and events are queued.
func (q *Queue) Depth() (requests, events int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.requests, q.events
}
