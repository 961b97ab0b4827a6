package chargeingest

import (
	"context"
	"fmt"
	"slices"
)

// Lookup is what a store keeps of one platform, seen from inside the
// transaction that a batch is to be stored in.
type Lookup interface {
	// BoundRequest returns the request that an idempotency key is bound to,
	// nil where it is free.
	BoundRequest(ctx context.Context, platform, key string) (*BoundRequest, error)

	// EventByReference returns the event with a reference that is not empty,
	// nil where there is none.
	EventByReference(ctx context.Context, platform, reference string) (*StoredEvent, error)
}

// BoundRequest is a stored request that carried an idempotency key.
type BoundRequest struct {
	Route  Route
	Digest Digest
	// Events are the events that the request was answered with, in its order.
	Events []StoredEvent
}

// Decision says what is to be stored of a batch.
type Decision struct {
	batch Batch

	// events has an entry for each of the batch; the memory for one is here.
	events []decided
	single [1]decided

	keyReplayed bool

	// others is the size of the replays whose content the batch does not have.
	others int
}

// maxOthersBytes bounds the replays of a batch whose content it does not have.
// What a batch has is bounded by the size of its request.
const maxOthersBytes = 16 << 20

// decided is what becomes of an event.
type decided struct {
	// replay is the stored event that it repeats, or nil.
	replay *StoredEvent

	// first is the index of the event of the batch that has its reference
	// first; its own where it is the first.
	first int
}

// Decide settles which events of a batch are new, which are replays, and
// whether the batch is a conflict. A store calls it inside the transaction
// that inserts, before it writes anything; then [Decision.Apply] inserts.
//
// The order is: the idempotency key, then the references, each event first
// against what is stored, then against the earlier events of its batch. Equal
// digests are equal content. Different ones decide nothing: the content is
// compared member by member, so that a later change in how digests are made
// never turns an honest retry into a conflict.
//
// The error is a [*ConflictError], [ErrAnswerTooLarge], or one of look.
func Decide(ctx context.Context, b Batch, look Lookup) (*Decision, error) {
	d := &Decision{batch: b}
	if d.events = d.single[:]; len(b.Events) != 1 {
		d.events = make([]decided, len(b.Events))
	}
	for i := range d.events {
		d.events[i].first = i
	}
	if b.IdempotencyKey != "" {
		bound, err := look.BoundRequest(ctx, b.Platform, b.IdempotencyKey)
		if err != nil {
			return nil, err
		}
		if bound != nil {
			return d, d.replayBound(bound)
		}
	}
	var seen map[string]int
	if len(b.Events) > 1 {
		seen = make(map[string]int, len(b.Events))
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Reference == "" {
			continue
		}
		if j, ok := seen[e.Reference]; ok {
			d.events[i] = decided{replay: d.events[j].replay, first: j}
			was := asStored(&b.Events[j])
			if replay := d.events[j].replay; replay != nil {
				was = *replay
			}
			if err := d.compare(i, was); err != nil {
				return nil, err
			}
			continue
		}
		if seen != nil {
			seen[e.Reference] = i
		}
		stored, err := look.EventByReference(ctx, b.Platform, e.Reference)
		if err != nil {
			return nil, err
		}
		if stored == nil {
			continue
		}
		d.events[i].replay = stored
		if err := d.compare(i, *stored); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// replayBound answers a batch with the request that its key is bound to.
func (d *Decision) replayBound(bound *BoundRequest) error {
	same := bound.Route == d.batch.Route && len(bound.Events) == len(d.batch.Events)
	var fields []string
	if same && bound.Digest != d.batch.Digest {
		for i := range d.batch.Events {
			diff, err := Differences(bound.Events[i], &d.batch.Events[i])
			if err != nil {
				return err
			}
			for _, f := range diff {
				if !slices.Contains(fields, f) {
					fields = append(fields, f)
				}
			}
		}
		same = len(fields) == 0
	}
	if !same {
		return &ConflictError{Key: true, Fields: fields}
	}
	for i := range bound.Events {
		d.events[i].replay = &bound.Events[i]
	}
	d.keyReplayed = true
	return nil
}

// compare returns a conflict where event i must have the content of stored and
// has not, and an error where it need not, but the answer gets too large.
func (d *Decision) compare(i int, stored StoredEvent) error {
	if d.batch.Duplicates == AcceptAll {
		if stored.Digest != d.batch.Events[i].Digest {
			d.others += len(stored.Content)
		}
		if d.others > maxOthersBytes && len(d.batch.Events) > 1 {
			return ErrAnswerTooLarge
		}
		return nil
	}
	fields, err := Differences(stored, &d.batch.Events[i])
	if err != nil || len(fields) == 0 {
		return err
	}
	return &ConflictError{Index: i, EventID: stored.ID, Fields: fields}
}

// asStored views an event of the batch as the stored one that it will be.
func asStored(e *NewEvent) StoredEvent {
	return StoredEvent{Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest}
}

// Apply calls insert with the index of each event that is new, in order, and
// makes the receipt out of the ids that it returns. It stops at the first
// error of insert and returns it.
func (d *Decision) Apply(insert func(i int) (id string, err error)) (Receipt, error) {
	outcomes := make([]Outcome, len(d.batch.Events))
	for i := range outcomes {
		switch first, replay := d.events[i].first, d.events[i].replay; {
		case replay != nil:
			outcomes[i] = Outcome{StoredEvent: *replay, Replayed: true}
		case first != i:
			outcomes[i] = Outcome{StoredEvent: outcomes[first].StoredEvent, Replayed: true}
		default:
			id, err := insert(i)
			if err != nil {
				return Receipt{}, err
			}
			outcomes[i].StoredEvent = asStored(&d.batch.Events[i])
			outcomes[i].ID = id
		}
	}
	return Receipt{Outcomes: outcomes}, nil
}

// BindsKey says that the batch has an idempotency key that is free: the store
// binds it to the events of the receipt, in the same transaction.
func (d *Decision) BindsKey() bool {
	return d.batch.IdempotencyKey != "" && !d.keyReplayed
}

// Differences returns the paths in which an event that was sent differs from a
// stored one; none where they are the same content. Members are compared as
// JSON values: their order and white space do not count, null equals absent,
// strings and numbers are equal as they are spelled. A timestamp that was sent
// may be the one that the service had assigned.
func Differences(stored StoredEvent, sent *NewEvent) ([]string, error) {
	if stored.Digest == sent.Digest {
		return nil, nil
	}
	was, err := parseContent(stored.Content)
	if err != nil {
		return nil, fmt.Errorf("stored event %s: %w", stored.ID, err)
	}
	is, err := parseContent(sent.Content)
	if err != nil {
		return nil, fmt.Errorf("event sent: %w", err)
	}
	if sent.TimestampAssigned {
		delete(is, "timestamp")
		if stored.TimestampAssigned {
			delete(was, "timestamp")
		}
	}
	return differingPaths(nil, "", was, is), nil
}
