package chargeingest

import "context"

// Lookup is what a store keeps of one platform, seen from inside the
// transaction that a batch is to be stored in.
type Lookup interface {
	// BoundRequest returns the request that an idempotency key is bound to,
	// nil if it is free.
	BoundRequest(ctx context.Context, platform, key string) (*BoundRequest, error)

	// EventByReference returns the event with a reference that is not empty,
	// nil if there is none.
	EventByReference(ctx context.Context, platform, reference string) (*StoredEvent, error)
}

// BoundRequest is the record of a stored request that carried an idempotency key.
type BoundRequest struct {
	Route  Route
	Digest Digest

	// Events has an entry for each event of the request, in its order.
	Events []BoundEvent
}

// BoundEvent is an event of a request that carried an idempotency key.
type BoundEvent struct {
	// StoredEvent is what the request returned.
	StoredEvent

	// Sent is what the client sent, without an id, if that may be another content:
	// under ReturnOriginal. A retry is compared with it.
	Sent *StoredEvent
}

// Decision says what is to be stored of a batch.
type Decision struct {
	batch Batch

	// events has an entry for each of the batch; the memory for one is here.
	events []decided
	single [1]decided

	keyReplayed bool

	tooLarge bool // more would be held than a batch may repeat

	// excess is how much larger the stored contents are than the sent ones that
	// they are compared with or returned for, in bytes; room is how large it may be.
	excess, room int

	// uncompared are stored and sent events whose digests differ.
	uncompared []pair
}

// decided is what becomes of an event.
type decided struct {
	// replay is the stored event that it repeats, or nil.
	replay *StoredEvent

	// first is the index of the event of the batch that has its reference
	// first; its own if it is the first.
	first int
}

// pair is an event of the batch and the stored one that it must be equal to.
type pair struct {
	index  int
	stored StoredEvent
	key    bool // by idempotency key, not by reference

	// returned is the event that the request of the key returned; nil if that is
	// the stored one.
	returned *StoredEvent
}

// maxExcessBytes bounds how much larger the stored events that a batch repeats
// may be than those that it has.
const maxExcessBytes = 16 << 20

// Decide settles which events of a batch are new, which are replays, and
// whether the batch is a conflict. A store calls it inside the transaction
// that inserts, before it writes anything; then [Decision.Apply] inserts.
//
// The order is: the idempotency key, then the references, each event first
// against what is stored, then against the earlier events of its batch. Equal
// digests are equal content. Different ones decide nothing: the content is
// compared ([Differences]), so that a later change in how digests are made
// never turns an honest retry into a conflict. Within [CompareOutside] that
// happens after the transaction, and the error is an ErrNotStored.
//
// Otherwise the error is a [*ConflictError], [ErrResponseTooLarge], or one of look.
func Decide(ctx context.Context, b Batch, look Lookup) (*Decision, error) {
	d := &Decision{batch: b, room: b.room()}
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
			return d.settle(d.replayBound(bound))
		}
	}
	return d.settle(d.replayReferences(ctx, look))
}

// replayBound decides a batch by the request that its key is bound to.
func (d *Decision) replayBound(bound *BoundRequest) error {
	if bound.Route != d.batch.Route || len(bound.Events) != len(d.batch.Events) {
		return &ConflictError{IdempotencyKey: true}
	}
	for i := range bound.Events {
		e := &bound.Events[i]
		d.events[i].replay = &e.StoredEvent
		d.exceed(i, &e.StoredEvent)
		switch {
		case bound.Digest == d.batch.Digest:
		case e.Sent == nil:
			d.mustEqual(pair{index: i, stored: e.StoredEvent, key: true})
		default:
			d.exceed(i, e.Sent)
			d.mustEqual(pair{index: i, stored: *e.Sent, key: true, returned: &e.StoredEvent})
		}
	}
	d.keyReplayed = true
	return nil
}

// replayReferences decides a batch by the references of its events.
func (d *Decision) replayReferences(ctx context.Context, look Lookup) error {
	b := &d.batch
	var seen map[string]int
	if len(b.Events) > 1 {
		seen = make(map[string]int, len(b.Events))
	}
	for i := range b.Events {
		if d.tooLarge {
			return nil // but one of the events until here may be a conflict
		}
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
			d.repeat(i, was)
			continue
		}
		if seen != nil {
			seen[e.Reference] = i
		}
		stored, err := look.EventByReference(ctx, b.Platform, e.Reference)
		if err != nil {
			return err
		}
		if stored == nil {
			continue
		}
		d.events[i].replay = stored
		d.repeat(i, *stored)
	}
	return nil
}

// repeat notes that event i has the reference of a stored one.
func (d *Decision) repeat(i int, stored StoredEvent) {
	d.exceed(i, &stored)
	d.tooLarge = d.excess > maxExcessBytes && len(d.batch.Events) > 1
	if d.batch.Duplicates != ReturnOriginal {
		d.mustEqual(pair{index: i, stored: stored})
	}
}

// exceed counts the content that is held in place of that of event i.
func (d *Decision) exceed(i int, stored *StoredEvent) {
	d.excess += max(0, len(stored.Content)-len(d.batch.Events[i].Content))
}

// mustEqual notes a pair that has to be compared. Beyond the room for it the
// batch is not decided yet, and nothing is kept.
func (d *Decision) mustEqual(p pair) {
	sent := &d.batch.Events[p.index]
	switch {
	case p.stored.Digest == sent.Digest || d.batch.compared.equal[p.contents(sent)]:
	case d.batch.compared.outside && d.excess > d.room:
		d.uncompared = nil
	default:
		d.uncompared = append(d.uncompared, p)
	}
}

// settle returns the decision if there is no error and nothing left to compare.
func (d *Decision) settle(err error) (*Decision, error) {
	outside := d.batch.compared.outside
	switch {
	case err != nil:
	case d.tooLarge && d.batch.Duplicates == ReturnOriginal:
		err = ErrResponseTooLarge
	case outside && d.excess > d.room:
		err = &undecidedError{excess: d.excess}
	case outside && len(d.uncompared) > 0:
		err = &undecidedError{pairs: d.uncompared}
	case len(d.uncompared) > 0:
		_, err = compare(context.Background(), &d.batch, d.uncompared)
	}
	switch {
	case err != nil:
		return nil, err
	case d.tooLarge:
		return nil, ErrResponseTooLarge
	}
	return d, nil
}

// asStored views an event of the batch as the stored one that it will be.
func asStored(e *NewEvent) StoredEvent {
	return StoredEvent{Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest}
}

// Apply calls insert with the index of each event that is new, in order, and
// makes the receipt out of the ids that it returns. It stops at the first
// error of insert and returns it.
func (d *Decision) Apply(insert func(i int) (id string, err error)) (AppendResult, error) {
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
				return AppendResult{}, err
			}
			outcomes[i].StoredEvent = asStored(&d.batch.Events[i])
			outcomes[i].ID = id
		}
	}
	return AppendResult{Outcomes: outcomes}, nil
}

// BoundRequest returns the record that the store keeps of the batch's
// idempotency key, in the same transaction; nil if the batch has no key, or one
// that is bound already.
func (d *Decision) BoundRequest(receipt AppendResult) *BoundRequest {
	if d.batch.IdempotencyKey == "" || d.keyReplayed {
		return nil
	}
	bound := &BoundRequest{Route: d.batch.Route, Digest: d.batch.Digest, Events: make([]BoundEvent, len(receipt.Outcomes))}
	for i := range receipt.Outcomes {
		e := &bound.Events[i]
		e.StoredEvent = receipt.Outcomes[i].StoredEvent
		if sent := asStored(&d.batch.Events[i]); d.batch.Duplicates == ReturnOriginal && sent.Digest != e.Digest {
			e.Sent = &sent
		}
	}
	return bound
}
