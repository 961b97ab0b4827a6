package relay

import "sync"

// Stats are counters of a Relay.
type Stats struct {
	Delivered uint64 // events
	Repeated  uint64
	Parked    uint64 // deferred for the first time
	Dead      uint64 // became dead letters

	// Attempts counts sent events by outcome, and under "failed" those of batches without
	// results.
	Attempts map[string]uint64

	// Down lists the platforms for which the destination is down.
	Down []string
}

// Stats returns counters since New.
func (r *Relay) Stats() Stats {
	c := &r.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.saved
	s.Attempts = map[string]uint64{"failed": c.failed}
	for outcome, n := range c.outcomes {
		s.Attempts[Outcome(outcome).String()] = n
	}
	s.Down = r.down.platforms()
	return s
}

type counters struct {
	mu       sync.Mutex
	saved    Stats
	outcomes [Rejected + 1]uint64
	failed   uint64
}

func (c *counters) sent(o *Observation, events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Err != nil {
		c.failed += uint64(events)
		return
	}
	for i, n := range []int{o.Unsent, o.Delivered, o.Repeated, o.Deferred, o.Rejected} {
		c.outcomes[i] += uint64(n)
	}
}

func (c *counters) save(p *Progress, parked, dead int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved.Delivered += uint64(p.Delivered)
	c.saved.Repeated += uint64(p.Repeated)
	c.saved.Parked += uint64(parked)
	c.saved.Dead += uint64(dead)
}

func (o Outcome) String() string {
	switch o {
	case Unsent:
		return "unsent"
	case Delivered:
		return "delivered"
	case Repeated:
		return "repeated"
	case Deferred:
		return "deferred"
	case Rejected:
		return "rejected"
	}
	return "unknown"
}
