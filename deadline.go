package chargeingest

import (
	"context"
	"sync"
	"time"
)

// ingestTimeout bounds how long a request waits to be stored once it was read:
// so long, or up to a second longer.
const ingestTimeout = 30 * time.Second

// deadlines bounds how long requests wait. Those of the same second share a
// timer: one for each would cost more than the rest of a request's way to the
// store.
type deadlines struct {
	mu     sync.Mutex
	newest context.Context
	until  time.Time // no request gets the newest later
}

// context returns a context with the values of a request's that does not end
// with it, but with the deadline.
func (d *deadlines) context(request context.Context) context.Context {
	return boundContext{Context: d.bound(time.Now()), values: request}
}

func (d *deadlines) bound(now time.Time) context.Context {
	const shared = time.Second
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == nil || now.After(d.until) {
		ctx, cancel := context.WithDeadline(context.Background(), now.Add(ingestTimeout+shared))
		context.AfterFunc(ctx, cancel) // it ends by itself, and nobody else ends it
		d.newest, d.until = ctx, now.Add(shared)
	}
	return d.newest
}

// boundContext is one context with the values of another.
type boundContext struct {
	context.Context
	values context.Context
}

// Value implements [context.Context]. What a context says of its own end comes
// first.
func (c boundContext) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
