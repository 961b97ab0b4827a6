package relay

import "errors"

const (
	maxProbes  = 3 // of a destination that was up
	maxSuspect = 3 // single events in a row, before another one is probed
)

// suspect is an event that was rejected for now on its own. It is parked once the destination
// has accepted another one, and otherwise the destination is down.
type suspect struct {
	index int
	err   *BatchError
}

// run sends all events.
func (d *delivery) run() error {
	if d.s.probing {
		if err := d.probe(1); err != nil {
			return err
		}
	}
	for first := 0; first < len(d.events); {
		batch := []int{first}
		bytes := len(d.events[first].Content)
		for i := first + 1; i < len(d.events) && len(batch) < d.cfg.BatchSize; i++ {
			if bytes += len(d.events[i].Content); bytes > d.cfg.BatchBytes {
				break
			}
			batch = append(batch, i)
		}
		first += len(batch)
		if len(d.suspects) == 0 {
			d.mark = d.successes
		}
		if err := d.group(batch, true); err != nil {
			return err
		}
	}
	if n := len(d.suspects); n > 0 {
		if d.successes == d.mark {
			return d.isDown(d.suspects[n-1].err)
		}
		d.park()
	}
	return nil
}

// group sends events together, and if they are rejected, in halves. A whole batch that is
// rejected for now is halved only if the destination accepts a single event.
func (d *delivery) group(events []int, whole bool) error {
	for {
		if events = d.open(events); len(events) == 0 {
			return nil
		}
		err := d.send(events)
		if err == nil {
			continue
		}
		var rejected *BatchError
		if !errors.As(err, &rejected) {
			return err
		}
		if len(events) == 1 {
			return d.single(events[0], rejected)
		}
		if whole && !rejected.Permanent && d.entries == nil {
			if err := d.probe(maxProbes); err != nil {
				return err
			}
			if events = d.open(events); len(events) == 0 {
				return nil
			}
		}
		half := (len(events) + 1) / 2
		if err := d.group(events[:half], false); err != nil {
			return err
		}
		events, whole = events[half:], false
	}
}

// single decides on an event that was rejected on its own.
func (d *delivery) single(i int, rejected *BatchError) error {
	switch {
	case rejected.Permanent:
		d.settle(i, Rejected, rejected)
		d.succeeded()
	case d.entries != nil:
		d.settle(i, Deferred, rejected)
	default:
		d.suspects = append(d.suspects, suspect{i, rejected})
		d.suspected[i] = true
		if d.streak++; d.streak >= maxSuspect {
			return d.probe(maxProbes)
		}
	}
	return nil
}

// probe sends up to n single events, a different one each time, until the destination accepts
// one. It is down if it accepts none.
func (d *delivery) probe(n int) error {
	var last *BatchError
	for range n {
		i, ok := d.pick()
		if !ok {
			break
		}
		d.s.tries++
		err := d.send([]int{i})
		if err == nil {
			return nil
		}
		if !errors.As(err, &last) {
			return err
		}
		if last.Permanent {
			d.settle(i, Rejected, last)
			d.succeeded()
			return nil
		}
		d.suspects = append(d.suspects, suspect{i, last})
		d.suspected[i] = true
	}
	if last == nil {
		return nil // the end of run decides
	}
	return d.isDown(last)
}

// pick returns the next event to probe, from both ends by turns.
func (d *delivery) pick() (int, bool) {
	open := d.open(nil)
	if len(open) == 0 {
		return 0, false
	}
	i := d.s.tries / 2 % len(open)
	if d.s.tries%2 == 1 {
		i = len(open) - 1 - i
	}
	return open[i], true
}

// open returns those of the events, or of all, that are neither settled nor suspects.
func (d *delivery) open(events []int) []int {
	var open []int
	add := func(i int) {
		if !d.settled[i] && !d.suspected[i] {
			open = append(open, i)
		}
	}
	if events == nil {
		for i := range d.events {
			add(i)
		}
	}
	for _, i := range events {
		add(i)
	}
	return open
}

func (d *delivery) settle(i int, outcome Outcome, e *BatchError) {
	d.results[i] = Result{Outcome: outcome, Reason: e.Reason, RetryAfter: e.RetryAfter}
	d.settled[i] = true
}

// succeeded notes that the destination is up.
func (d *delivery) succeeded() {
	d.successes++
	d.s.probing = false
	d.park()
}

func (d *delivery) park() {
	for _, s := range d.suspects {
		d.settle(s.index, Deferred, s.err)
	}
	d.suspects, d.streak = nil, 0
}

func (d *delivery) isDown(e *BatchError) error {
	d.s.probing = true
	return &downError{error: e, retryAfter: e.RetryAfter}
}
