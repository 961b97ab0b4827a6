package relay

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
)

const (
	maxProbes  = 3
	maxSuspect = 3
	proofTime  = time.Minute
)

// suspect was rejected for now on its own. It is parked once the destination accepts another
// event.
type suspect struct {
	index int
	err   *BatchError
}

// run stops early after turnTime, so that progress is saved.
func (d *delivery) run() error {
	if d.s.probing && d.entries == nil {
		if err := d.probe(1, nil); err != nil {
			return err
		}
	}
	begin := time.Now()
	for first := 0; first < len(d.events) && (first == 0 || time.Since(begin) < turnTime); {
		batch := []int{first}
		bytes := len(d.events[first].Content)
		for i := first + 1; i < len(d.events) && len(batch) < d.cfg.BatchSize; i++ {
			if bytes += len(d.events[i].Content); bytes > d.cfg.BatchBytes {
				break
			}
			batch = append(batch, i)
		}
		if first > 0 && len(d.suspects) == 0 {
			d.mark = d.successes
		}
		first += len(batch)
		if err := d.group(batch, true); err != nil {
			return err
		}
	}
	if n := len(d.suspects); n > 0 {
		if d.successes == d.mark {
			if err := d.confirm(d.suspects[n-1].err); err != nil {
				return err
			}
		}
		d.park()
	}
	d.s.tries = 0
	return nil
}

// group halves a rejected batch. If that was rejected for now, group first probes the
// destination.
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
			if err := d.probe(maxProbes, rejected); err != nil {
				return err
			}
			n := len(events)
			whole = false
			if events = d.open(events); len(events) < n-1 {
				continue
			}
		}
		half := (len(events) + 1) / 2
		if err := d.group(events[:half], false); err != nil {
			return err
		}
		events, whole = events[half:], false
	}
}

func (d *delivery) single(i int, rejected *BatchError) error {
	switch {
	case rejected.Permanent:
		d.settle(i, Rejected, rejected)
		d.succeeded()
	case d.entries != nil:
		d.settle(i, Deferred, rejected)
		d.unproven = true
	default:
		d.suspects = append(d.suspects, suspect{i, rejected})
		d.suspected[i] = true
		if d.streak++; d.streak >= d.patience {
			d.patience *= 2
			return d.probe(maxProbes, rejected)
		}
	}
	return nil
}

// probe sends up to n single events, a different one each time, until the destination accepts
// one.
func (d *delivery) probe(n int, last *BatchError) error {
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
	return d.confirm(last)
}

// confirm repeats an accepted event, or sends the newest one.
func (d *delivery) confirm(rejected *BatchError) error {
	e := d.accepted
	if e == nil {
		page, err := d.cfg.Source.List(d.ctx, chargeingest.Query{Platform: d.s.platform, Limit: 1})
		if err != nil {
			return fmt.Errorf("reading the newest event: %w", err)
		}
		if len(page.Events) == 0 || page.Events[0].ID == d.events[len(d.events)-1].ID {
			return d.isDown(rejected)
		}
		e = &page.Events[0]
	}
	_, err := d.attempt([]chargeingest.StoredEvent{*e})
	var again *BatchError
	switch {
	case !errors.As(err, &again):
		return err
	case again.Permanent:
		d.succeeded()
		return nil
	}
	return d.isDown(rejected)
}

// prove repeats an accepted event before parked events expire.
func (d *delivery) prove() error {
	now := d.cfg.Clock()
	expires := func(e Entry) bool { return d.tooOld(e, now) }
	if !d.unproven || !slices.ContainsFunc(d.entries, expires) || time.Since(d.s.acceptedAt) > proofTime {
		return nil
	}
	e, err := d.cfg.Source.Get(d.ctx, d.s.platform, d.s.accepted)
	if err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	_, err = d.attempt([]chargeingest.StoredEvent{e})
	var rejected *BatchError
	if errors.As(err, &rejected) {
		return nil
	}
	return err
}

func (d *delivery) pick() (int, bool) {
	first, n := d.prefix(), len(d.events)
	try, step := d.s.tries%(n-first), 1
	start := first + try/2
	if try%2 == 1 {
		start, step = n-1-try/2, -1
	}
	for range n - first {
		if !d.settled[start] && !d.suspected[start] {
			return start, true
		}
		if start += step; start == n {
			start = first
		} else if start < first {
			start = n - 1
		}
	}
	return 0, false
}

func (d *delivery) open(events []int) []int {
	open := make([]int, 0, len(events))
	for _, i := range events {
		if !d.settled[i] && !d.suspected[i] {
			open = append(open, i)
		}
	}
	return open
}

func (d *delivery) settle(i int, outcome Outcome, e *BatchError) {
	d.results[i] = Result{Outcome: outcome, Reason: e.reason(), RetryAfter: e.RetryAfter}
	d.settled[i] = true
}

func (d *delivery) succeeded() {
	d.successes++
	d.s.probing, d.unproven = false, false
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
