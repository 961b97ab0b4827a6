package limits

import (
	"container/list"
	"context"
	"sync"
)

// Gate admits a fixed number of calls at a time. Waiting platforms take turns, one call
// each. With more than one slot, no platform holds all. It is safe for concurrent use.
type Gate struct {
	slots int

	mu        sync.Mutex
	free      int
	platforms map[string]*platform // with a slot, or waiting
	rotation  *list.List           // with waiting calls; the front is next
}

type platform struct {
	name    string
	held    int           // slots
	waiting *list.List    // of chan struct{}, oldest first; closed on admission
	turn    *list.Element // in the rotation; nil if no call is waiting
}

// NewGate returns a gate that admits n calls at a time, at least one.
func NewGate(n int) *Gate {
	n = max(1, n)
	return &Gate{slots: n, free: n, platforms: make(map[string]*platform), rotation: list.New()}
}

// Enter waits for a slot. Unless it returns the error of ctx, the caller must call leave once.
func (g *Gate) Enter(ctx context.Context, name string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, call, admitted := g.enqueue(name)
	leave = func() { g.leave(p) }
	select {
	case <-admitted:
		return leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-admitted: // at the same moment
		return leave, nil
	default:
		g.dequeue(p, call)
		return nil, ctx.Err()
	}
}

// TryEnter does not wait.
func (g *Gate) TryEnter(name string) (leave func(), ok bool) {
	p, call, admitted := g.enqueue(name)
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-admitted:
		return func() { g.leave(p) }, true
	default:
		g.dequeue(p, call)
		return nil, false
	}
}

// EnterEvenIfDone also takes a free slot if ctx has ended: a half-closed client may still read
// the response.
func (g *Gate) EnterEvenIfDone(ctx context.Context, name string) (leave func(), err error) {
	if leave, ok := g.TryEnter(name); ok {
		return leave, nil
	}
	return g.Enter(ctx, name)
}

// Waiting reports whether calls wait.
func (g *Gate) Waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rotation.Len() > 0
}

func (g *Gate) enqueue(name string) (*platform, *list.Element, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.platforms[name]
	if p == nil {
		p = &platform{name: name, waiting: list.New()}
		g.platforms[name] = p
	}
	admitted := make(chan struct{})
	call := p.waiting.PushBack(admitted)
	if p.turn == nil {
		p.turn = g.rotation.PushBack(p)
	}
	g.admit()
	return p, call, admitted
}

func (g *Gate) leave(p *platform) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free++
	p.held--
	g.forget(p)
	g.admit()
}

// admit leaves the last slot to platforms without one.
func (g *Gate) admit() {
	for turn := g.rotation.Front(); turn != nil && g.free > 0; {
		p := turn.Value.(*platform)
		if p.held > 0 && p.held == g.slots-1 {
			turn = turn.Next()
			continue
		}
		call := p.waiting.Front()
		close(call.Value.(chan struct{}))
		g.free--
		p.held++
		g.rotation.MoveToBack(turn)
		g.dequeue(p, call)
		turn = g.rotation.Front()
	}
}

func (g *Gate) dequeue(p *platform, call *list.Element) {
	p.waiting.Remove(call)
	if p.waiting.Len() == 0 {
		g.rotation.Remove(p.turn)
		p.turn = nil
		g.forget(p)
	}
}

func (g *Gate) forget(p *platform) {
	if p.held == 0 && p.turn == nil {
		delete(g.platforms, p.name)
	}
}
