package relay

import (
	"errors"
	"fmt"
	"time"

	"example.com/chargeingest"
)

func (t *turn) due(limit int) ([]Entry, error) {
	entries, next, err := t.cfg.Journal.Due(t.ctx, t.stream(t.s.platform), t.cfg.Clock(), limit)
	if err != nil {
		return nil, fmt.Errorf("reading parked events: %w", err)
	}
	t.s.nextDue, t.s.looked = next, time.Now()
	return entries, nil
}

// lookInterval limits looks for parked entries, to gather them.
func (t *turn) lookInterval() time.Duration { return min(time.Second, t.cfg.Schedule.Min) }

func (t *turn) mayLook() bool {
	return t.s.failures > 0 || time.Since(t.s.looked) >= t.lookInterval()
}

func (t *turn) deliverDue() (int, error) {
	// Entries that are being saved must not be sent again.
	if err := t.flush(); err != nil {
		return 0, err
	}
	entries, err := t.due(t.cfg.BatchSize)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	d := t.newDelivery(nil, nil)
	bytes := 0
	var missing []Entry
	for _, entry := range entries {
		e, err := t.cfg.Source.Get(t.ctx, t.s.platform, entry.EventID)
		if errors.Is(err, chargeingest.ErrNotFound) {
			missing = append(missing, entry)
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("reading a parked event: %w", err)
		}
		if bytes += len(e.Content); bytes > t.cfg.BatchBytes && len(d.events) > 0 {
			break
		}
		d.events, d.entries = append(d.events, e), append(d.entries, entry)
	}
	return t.deliverEntries(d, missing)
}

func (t *turn) deliverEntries(d *delivery, missing []Entry) (int, error) {
	d = t.newDelivery(d.events, d.entries)
	var err error
	if len(d.events) > 0 {
		err = d.run()
	}
	p, parked, dead := d.progress(len(d.events))
	t.noteNextAttempts(p.Entries)
	for _, entry := range missing {
		p.Entries = append(p.Entries, EntryChange{EventID: entry.EventID, State: Dead, Attempt: Attempt{
			At:      t.cfg.Clock(),
			Outcome: Rejected.String(),
			Reason:  Reason{Code: "event_not_found", Message: "the source no longer has the event"},
		}})
		dead++
	}
	if !t.noteFailure(&p, err) && len(p.Entries) == 0 {
		return len(d.events), err
	}
	if saved := t.save(p, parked, dead); saved != nil {
		return 0, saved
	}
	if saved := t.flush(); saved != nil {
		return 0, saved
	}
	return len(p.Entries), err
}

func (t *turn) noteNextAttempts(changes []EntryChange) {
	for _, c := range changes {
		if c.State == Parked && (t.s.nextDue.IsZero() || c.NextAttempt.Before(t.s.nextDue)) {
			t.s.nextDue = c.NextAttempt
		}
	}
}
