package storekit

import (
	"context"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// Lookup reads the state of one platform inside the transaction that stores a batch.
type Lookup interface {
	// IdempotencyRecord returns the record of a key, or nil if the key is unused.
	IdempotencyRecord(ctx context.Context, platform, key string) (*IdempotencyRecord, error)

	// EventByReference returns the event with a reference, which is not empty, or nil.
	EventByReference(ctx context.Context, platform, reference string) (*chargeingest.StoredEvent, error)
}

// Decision is the result of resolving the duplicates of a batch.
type Decision struct {
	attempt Attempt

	events []eventDecision

	keyReplayed bool

	// excess is by how many bytes the stored contents that the batch repeats or is compared
	// with exceed the sent ones. Beyond maxExcess, memory has to be reserved for another
	// attempt.
	excess, maxExcess int

	tooLarge bool // more excess than any batch may have

	uncompared []pair
}

type eventDecision struct {
	replay *chargeingest.StoredEvent

	// first is the index of the first event of the batch with the same reference.
	first int
}

type pair struct {
	index  int
	stored chargeingest.StoredEvent
	byKey  bool // the idempotency key relates them, not the reference

	// returned is what the first request with the key returned, if not stored.
	returned *chargeingest.StoredEvent
}

// Decide determines which events of a batch are new, which are replays, and whether the batch
// is a conflict. A store calls it inside the transaction that inserts, before it writes
// anything, and then calls [Decision.Apply].
//
// Decide resolves the idempotency key first, then each reference: against the stored events,
// then against the earlier events of the batch. If digests differ, the contents are compared
// ([Differences]), so that a later change of the digest never turns a retry into a conflict.
//
// The error is a [*chargeingest.ConflictError], chargeingest.ErrResponseTooLarge, or an error
// of lookup. Contents are compared inside the transaction; [Append] with [Attempt.Decide]
// avoids that.
func Decide(ctx context.Context, b chargeingest.Batch, lookup Lookup) (*Decision, error) {
	a := Attempt{Batch: b}
	return a.Decide(ctx, lookup)
}

// Decide is [Decide] for a transaction run by [Append]. If contents have to be compared,
// it returns a chargeingest.ErrNotStored. Return that error to Append.
func (a *Attempt) Decide(ctx context.Context, lookup Lookup) (*Decision, error) {
	return (&Decision{attempt: *a}).resolve(ctx, lookup) // inlined: the caller's stack holds it
}

func (d *Decision) resolve(ctx context.Context, lookup Lookup) (*Decision, error) {
	a := &d.attempt
	d.maxExcess = a.maxExcess()
	d.events = make([]eventDecision, len(a.Events))
	for i := range d.events {
		d.events[i].first = i
	}
	if a.IdempotencyKey != "" {
		record, err := lookup.IdempotencyRecord(ctx, a.Platform, a.IdempotencyKey)
		if err != nil {
			return nil, err
		}
		if record != nil {
			return d.finish(ctx, d.resolveKey(record))
		}
	}
	return d.finish(ctx, d.resolveReferences(ctx, lookup))
}

func (d *Decision) resolveKey(record *IdempotencyRecord) error {
	if record.Route != d.attempt.Route || len(record.Events) != len(d.attempt.Events) {
		return &chargeingest.ConflictError{IdempotencyKey: true}
	}
	for i := range record.Events {
		e := &record.Events[i]
		d.events[i].replay = &e.StoredEvent
		d.addExcess(i, &e.StoredEvent)
		switch {
		case record.Digest == d.attempt.Digest:
		case e.Sent == nil:
			d.requireEqual(pair{index: i, stored: e.StoredEvent, byKey: true})
		default:
			d.addExcess(i, e.Sent)
			d.requireEqual(pair{index: i, stored: *e.Sent, byKey: true, returned: &e.StoredEvent})
		}
	}
	d.keyReplayed = true
	return nil
}

func (d *Decision) resolveReferences(ctx context.Context, lookup Lookup) error {
	b := &d.attempt.Batch
	var seen map[string]int
	if len(b.Events) > 1 {
		seen = make(map[string]int, len(b.Events))
	}
	for i := range b.Events {
		if d.tooLarge {
			return nil // finish still reports a conflict of an earlier event
		}
		e := &b.Events[i]
		if e.Reference == "" {
			continue
		}
		if j, ok := seen[e.Reference]; ok {
			d.events[i] = eventDecision{replay: d.events[j].replay, first: j}
			first := asStored(&b.Events[j])
			if replay := d.events[j].replay; replay != nil {
				first = *replay
			}
			d.addReplay(i, first)
			continue
		}
		if seen != nil {
			seen[e.Reference] = i
		}
		stored, err := lookup.EventByReference(ctx, b.Platform, e.Reference)
		if err != nil {
			return err
		}
		if stored == nil {
			continue
		}
		d.events[i].replay = stored
		d.addReplay(i, *stored)
	}
	return nil
}

func (d *Decision) addReplay(i int, stored chargeingest.StoredEvent) {
	d.addExcess(i, &stored)
	d.tooLarge = d.excess > limits.MaxExcessBytes && len(d.attempt.Events) > 1
	if d.attempt.Duplicates != chargeingest.ReturnOriginal {
		d.requireEqual(pair{index: i, stored: stored})
	}
}

func (d *Decision) addExcess(i int, stored *chargeingest.StoredEvent) {
	d.excess += max(0, len(stored.Content)-len(d.attempt.Events[i].Content))
}

// requireEqual drops all pairs beyond maxExcess, which need another attempt.
func (d *Decision) requireEqual(p pair) {
	sent := &d.attempt.Events[p.index]
	switch {
	case p.stored.Digest == sent.Digest || d.attempt.equal[p.contents(sent)]:
	case d.attempt.deferred && d.excess > d.maxExcess:
		d.uncompared = nil
	default:
		d.uncompared = append(d.uncompared, p)
	}
}

func (d *Decision) finish(ctx context.Context, err error) (*Decision, error) {
	deferred := d.attempt.deferred
	switch {
	case err != nil:
	case d.tooLarge && d.attempt.Duplicates == chargeingest.ReturnOriginal:
		err = chargeingest.ErrResponseTooLarge
	case deferred && d.excess > d.maxExcess:
		err = &undecidedError{excess: d.excess}
	case deferred && len(d.uncompared) > 0:
		err = &undecidedError{pairs: d.uncompared}
	case len(d.uncompared) > 0:
		_, err = compare(ctx, &d.attempt.Batch, d.uncompared)
	}
	switch {
	case err != nil:
		return nil, err
	case d.tooLarge:
		return nil, chargeingest.ErrResponseTooLarge
	}
	return d, nil
}

func asStored(e *chargeingest.NewEvent) chargeingest.StoredEvent {
	return chargeingest.StoredEvent{Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest}
}

// Apply calls insert with the index of each new event, in order, and returns the result of
// the batch with the ids that insert returns. It stops at the first error.
func (d *Decision) Apply(insert func(i int) (id string, err error)) (chargeingest.AppendResult, error) {
	outcomes := make([]chargeingest.Outcome, len(d.attempt.Events))
	for i := range outcomes {
		switch first, replay := d.events[i].first, d.events[i].replay; {
		case replay != nil:
			outcomes[i] = chargeingest.Outcome{StoredEvent: *replay, Replayed: true}
		case first != i:
			outcomes[i] = chargeingest.Outcome{StoredEvent: outcomes[first].StoredEvent, Replayed: true}
		default:
			id, err := insert(i)
			if err != nil {
				return chargeingest.AppendResult{}, err
			}
			outcomes[i].StoredEvent = asStored(&d.attempt.Events[i])
			outcomes[i].ID = id
		}
	}
	return chargeingest.AppendResult{Outcomes: outcomes}, nil
}

// IdempotencyRecord returns the record to store in the same transaction, or nil if the batch
// has no key or the key has a record.
func (d *Decision) IdempotencyRecord(result chargeingest.AppendResult) *IdempotencyRecord {
	a := &d.attempt
	if a.IdempotencyKey == "" || d.keyReplayed {
		return nil
	}
	record := &IdempotencyRecord{Route: a.Route, Digest: a.Digest, Events: make([]RecordedEvent, len(result.Outcomes))}
	for i := range result.Outcomes {
		e := &record.Events[i]
		e.StoredEvent = result.Outcomes[i].StoredEvent
		if sent := asStored(&a.Events[i]); a.Duplicates == chargeingest.ReturnOriginal && sent.Digest != e.Digest {
			e.Sent = &sent
		}
	}
	return record
}
