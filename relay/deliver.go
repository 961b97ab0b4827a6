package relay

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
)

type delivery struct {
	*turn
	events  []chargeingest.StoredEvent
	entries []Entry // of parked events, nil for those of a page
	results []Result
	settled []bool

	suspects  []suspect
	suspected []bool
	streak    int
	successes int
	mark      int
	patience  int
	accepted  *chargeingest.StoredEvent
	unproven  bool // a parked event failed, perhaps due to an outage
}

func (t *turn) newDelivery(events []chargeingest.StoredEvent, entries []Entry) *delivery {
	return &delivery{
		turn:      t,
		events:    events,
		entries:   entries,
		results:   make([]Result, len(events)),
		settled:   make([]bool, len(events)),
		suspected: make([]bool, len(events)),
		patience:  maxSuspect,
	}
}

func (d *delivery) prefix() int {
	for i, settled := range d.settled {
		if !settled {
			return i
		}
	}
	return len(d.settled)
}

func (d *delivery) send(indexes []int) error {
	events := d.events[indexes[0] : indexes[len(indexes)-1]+1]
	if len(events) != len(indexes) {
		events = make([]chargeingest.StoredEvent, len(indexes))
		for i, index := range indexes {
			events[i] = d.events[index]
		}
	}
	results, err := d.attempt(events)
	if err != nil {
		return err
	}
	for i, index := range indexes {
		d.results[index] = results[i]
		d.settled[index] = results[i].Outcome != Unsent
	}
	return nil
}

func (d *delivery) attempt(events []chargeingest.StoredEvent) ([]Result, error) {
	if d.s.left() < d.margin() {
		return nil, fmt.Errorf("%w: it has not been renewed", ErrLeaseLost)
	}
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	start := time.Now()
	results, err := d.callSink(events)
	o := Observation{Stream: d.stream(d.s.platform), Duration: time.Since(start), Err: err, Retry: d.entries != nil}
	d.longest = max(d.longest, o.Duration)
	if err == nil {
		isAccepted := func(r Result) bool { return r.Outcome == Delivered || r.Outcome == Repeated }
		if i := slices.IndexFunc(results, isAccepted); i >= 0 {
			d.accepted = &events[i]
			d.s.accepted, d.s.acceptedAt = d.accepted.ID, time.Now()
		}
		o.count(results)
		if o.Unsent == len(results) {
			err = &downError{error: errors.New("the destination has decided on none of the events")}
		} else {
			d.succeeded()
		}
	}
	d.stats.sent(&o, len(events))
	if d.cfg.Observer != nil {
		panics.Ignore(func() { d.cfg.Observer(o) })
	}
	return results, err
}

func (d *delivery) callSink(events []chargeingest.StoredEvent) (results []Result, err error) {
	err = func() (err error) {
		defer panics.RecoverTo(&err)
		results, err = d.cfg.Sink.Send(d.ctx, d.s.platform, events)
		if err != nil {
			_ = err.Error() // panics for a nil *BatchError
		}
		return err
	}()
	var batch *BatchError
	switch {
	case errors.As(err, &batch) && batch.Permanent:
		return nil, err
	case err != nil && d.ctx.Err() != nil:
		return nil, d.ctx.Err()
	case batch != nil:
		return nil, err
	case err != nil:
		down := &downError{error: err}
		var later interface{ RetryAfter() time.Duration }
		if errors.As(err, &later) {
			down.retryAfter = later.RetryAfter()
		}
		return nil, down
	case len(results) != len(events):
		return nil, &downError{error: fmt.Errorf("the sink returned %d results for %d events", len(results), len(events))}
	}
	for _, r := range results {
		if r.Outcome < Unsent || r.Outcome > Rejected {
			return nil, &downError{error: fmt.Errorf("the sink returned an invalid outcome %d", r.Outcome)}
		}
	}
	return results, nil
}

func (o *Observation) count(results []Result) {
	counts := []*int{&o.Unsent, &o.Delivered, &o.Repeated, &o.Deferred, &o.Rejected}
	for _, r := range results {
		*counts[r.Outcome]++
	}
}

func (d *delivery) progress(n int) (p Progress, parked, dead int) {
	p.Token = d.s.token
	now := d.cfg.Clock()
	for i, r := range d.results[:n] {
		if !d.settled[i] {
			continue
		}
		switch r.Outcome {
		case Delivered:
			p.Delivered++
		case Repeated:
			p.Repeated++
		}
		entry := Entry{Since: now}
		if d.entries != nil {
			entry = d.entries[i]
		} else if r.Outcome <= Repeated {
			continue
		}
		change := d.change(entry, r, now)
		change.EventID = d.events[i].ID
		p.Entries = append(p.Entries, change)
		if change.State == Dead {
			dead++
		} else if change.State == Parked && d.entries == nil {
			parked++
		}
	}
	return p, parked, dead
}

func (d *delivery) change(entry Entry, r Result, now time.Time) EntryChange {
	c := EntryChange{State: DeliveredState, Attempt: Attempt{At: now, Outcome: r.Outcome.String(), Reason: r.Reason.limited()}}
	switch {
	case r.Outcome == Rejected:
		c.State = Dead
	case r.Outcome == Deferred && d.tooOld(entry, now) && !d.unproven:
		c.State, c.Attempt.Outcome = Dead, "expired"
	case r.Outcome == Deferred:
		c.State = Parked
		c.NextAttempt = now.Add(d.cfg.Schedule.backoff(entry.Attempts))
		if end := entry.Since.Add(d.cfg.Schedule.MaxAge); c.NextAttempt.After(end) && end.After(now) {
			c.NextAttempt = end
		}
		if earliest := now.Add(min(r.RetryAfter, d.cfg.Schedule.MaxAge)); c.NextAttempt.Before(earliest) {
			c.NextAttempt = earliest
		}
	}
	return c
}

func (d *delivery) tooOld(entry Entry, now time.Time) bool {
	return now.Sub(entry.Since) >= d.cfg.Schedule.MaxAge
}
