// Package groupcommit queues batches for a store's writer, which commits them in groups.
package groupcommit

import (
	"container/heap"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/storekit"
)

// maxGroupBytes bounds the content of a group.
const maxGroupBytes = 16 << 20

// Queue holds requests until the writer takes them. Platforms take turns, one request each.
// It is safe for concurrent use and costs O(log platforms).
type Queue struct {
	maxEvents     int
	observer      func(chargeingest.CommitStats)
	observerPanic func(error)
	ready         chan struct{}

	mu         sync.Mutex
	platforms  map[string]*platformQueue
	rotation   list[platformQueue] // the next to be served first
	largest    largestFirst
	requests   int
	events     int
	closed     bool
	commits    uint64
	lastCommit chargeingest.CommitStats
}

// New returns an empty queue. The observer may be nil; observerPanic logs its panics.
func New(maxEvents int, observer func(chargeingest.CommitStats), observerPanic func(error)) *Queue {
	return &Queue{
		maxEvents: maxEvents, observer: observer, observerPanic: observerPanic,
		ready: make(chan struct{}, 1), platforms: make(map[string]*platformQueue),
	}
}

// Ready returns a channel that has a token while requests are queued or the queue is closed.
func (q *Queue) Ready() <-chan struct{} { return q.ready }

// Append waits for the result of a batch. If ctx ends first, the error is ErrNotStored or,
// once the writer has taken the batch, ErrOutcomeUnknown.
func (q *Queue) Append(ctx context.Context, a storekit.Attempt) (chargeingest.AppendResult, error) {
	if err := ctx.Err(); err != nil {
		return chargeingest.AppendResult{}, notStored(err)
	}
	r := newRequest(a)
	if err := q.push(r); err != nil {
		return chargeingest.AppendResult{}, err
	}
	select {
	case result := <-r.done:
		return result.AppendResult, result.Err
	case <-ctx.Done():
	}
	if q.remove(r) {
		return chargeingest.AppendResult{}, notStored(ctx.Err())
	}
	select {
	case result := <-r.done:
		return result.AppendResult, result.Err
	default:
		return chargeingest.AppendResult{}, OutcomeUnknown(fmt.Errorf("the call ended while the events were being stored: %w", ctx.Err()))
	}
}

func notStored(cause error) error {
	return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, cause)
}

func (q *Queue) push(r *Request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return chargeingest.ErrClosed
	}
	if !q.makeRoom(r) {
		return chargeingest.ErrOverloaded
	}
	p := q.platformOf(r)
	p.requests.pushBack(&r.node, r)
	q.added(r, p)
	q.signal()
	return nil
}

// makeRoom reports whether r has room. If that suffices, it drops the newest requests of
// platforms with more events, at most as many events as r has: Requeue can exceed maxEvents.
func (q *Queue) makeRoom(r *Request) bool {
	platformEvents := r.events()
	if p := q.platforms[r.Platform]; p != nil {
		platformEvents += p.events
	}
	excess := min(q.events+r.events()-q.maxEvents, r.events())
	var dropped []*Request
	var from []*platformQueue
	for excess > 0 && q.events > 0 {
		p := q.largest.queues[0]
		if p.events <= platformEvents {
			for i := len(dropped) - 1; i >= 0; i-- {
				from[i].requests.pushBack(&dropped[i].node, dropped[i])
				q.added(dropped[i], from[i])
			}
			return false
		}
		newest := p.requests.last()
		q.unlink(newest)
		dropped, from = append(dropped, newest), append(from, p)
		excess -= newest.events()
	}
	for i, r := range dropped {
		q.dropIfEmpty(from[i])
		r.Finish(Result{Err: chargeingest.ErrOverloaded})
	}
	return true
}

func (q *Queue) platformOf(r *Request) *platformQueue {
	p := q.platforms[r.Platform]
	if p == nil {
		p = &platformQueue{platform: r.Platform}
		q.platforms[p.platform] = p
		q.rotation.pushBack(&p.node, p)
		heap.Push(&q.largest, p)
	}
	return p
}

func (q *Queue) added(r *Request, p *platformQueue) {
	r.queue = p
	p.events += r.events()
	q.events += r.events()
	q.requests++
	heap.Fix(&q.largest, p.heapIndex)
}

func (q *Queue) unlink(r *Request) {
	p := r.queue
	r.queue = nil
	p.requests.remove(&r.node)
	p.events -= r.events()
	q.events -= r.events()
	q.requests--
	heap.Fix(&q.largest, p.heapIndex)
}

func (q *Queue) dropIfEmpty(p *platformQueue) {
	if p.requests.empty() && q.platforms[p.platform] == p {
		delete(q.platforms, p.platform)
		q.rotation.remove(&p.node)
		heap.Remove(&q.largest, p.heapIndex)
	}
}

// yieldToCallers lets callers that are about to append join this group.
func (q *Queue) yieldToCallers(maxEvents int) {
	for before := -1; ; {
		q.mu.Lock()
		now := q.events
		q.mu.Unlock()
		if now <= before || now >= maxEvents {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// Take removes requests of up to maxEvents and maxGroupBytes, but at least one. Open is
// false if the queue is closed and empty.
//
// Platforms for which skip, if not nil, returns true keep their requests and their turn. Ready
// has no token for them: the writer must call Take again by itself.
func (q *Queue) Take(maxEvents int, skip func(platform string) bool) (group []*Request, open bool) {
	q.yieldToCallers(maxEvents)
	q.mu.Lock()
	defer q.mu.Unlock()
	events, bytes, more := 0, 0, false
	for n := q.rotation.head; n != nil; {
		p := n.owner
		if skip != nil && skip(p.platform) {
			n = n.next
			continue
		}
		r := p.requests.first()
		events, bytes = events+r.events(), bytes+r.bytes
		if len(group) > 0 && (events > maxEvents || bytes > maxGroupBytes) {
			more = true
			break
		}
		group = append(group, r)
		q.unlink(r)
		next := n.next
		q.rotation.remove(n)
		q.rotation.pushBack(n, p)
		if q.dropIfEmpty(p); next == nil && !p.requests.empty() {
			next = n // no other platform is left
		}
		n = next
	}
	if more || q.closed && q.events == 0 {
		q.signal()
	}
	return group, len(group) > 0 || !q.closed || q.events > 0
}

// Requeue puts requests of which nothing was stored first, in the order of Take, so that none
// is passed over forever.
func (q *Queue) Requeue(requests []*Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range slices.Backward(requests) {
		p := q.platformOf(r)
		p.requests.pushFront(&r.node, r)
		q.added(r, p)
		q.rotation.remove(&p.node)
		q.rotation.pushFront(&p.node, p)
	}
	if len(requests) > 0 {
		q.signal()
	}
}

func (q *Queue) remove(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := r.queue
	if p == nil {
		return false
	}
	q.unlink(r)
	q.dropIfEmpty(p)
	return true
}

// Close makes Append return ErrClosed. Queued requests can still be taken.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Observe counts a transaction and calls the observer. A panic is only logged.
func (q *Queue) Observe(c chargeingest.CommitStats) {
	q.mu.Lock()
	if c.Err == nil {
		q.commits++
	}
	q.lastCommit = c
	q.mu.Unlock()
	if q.observer == nil {
		return
	}
	var err error
	func() {
		defer panics.RecoverTo(&err)
		q.observer(c)
	}()
	if err != nil {
		q.observerPanic(err)
	}
}

// Stats includes commits.
func (q *Queue) Stats() chargeingest.StoreStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return chargeingest.StoreStats{
		QueuedRequests: q.requests, QueuedEvents: q.events, Commits: q.commits, LastCommit: q.lastCommit,
	}
}
