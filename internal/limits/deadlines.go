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

// Context has the values of request, the deadline and c, but does not end with request.
func (d *Deadlines) Context(request context.Context, c *Comparison) context.Context {
	c.Context, c.values = d.shared(time.Now()), request
	return c
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
