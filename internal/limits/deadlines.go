package limits

import (
	"context"
	"sync"
	"time"
)

// Deadlines gives requests a deadline. Requests of the same second share a timer: one for
// each would cost more than the rest of the request.
type Deadlines struct {
	// Timeout is the minimum; the deadline is up to a second later.
	Timeout time.Duration

	mu     sync.Mutex
	newest context.Context
	until  time.Time // newest is not used for later requests
}

// Context has the values of request and the deadline, but does not end with request.
func (d *Deadlines) Context(request context.Context) context.Context {
	return deadlineContext{Context: d.shared(time.Now()), values: request}
}

func (d *Deadlines) shared(now time.Time) context.Context {
	const period = time.Second
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == nil || now.After(d.until) {
		ctx, cancel := context.WithDeadline(context.Background(), now.Add(d.Timeout+period))
		context.AfterFunc(ctx, cancel) // the deadline alone ends it
		d.newest, d.until = ctx, now.Add(period)
	}
	return d.newest
}

type deadlineContext struct {
	context.Context
	values context.Context
}

func (c deadlineContext) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
