package chargeingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"example.com/chargeingest/internal/turns"
)

// compared is what is known about a batch from earlier attempts to decide it.
type compared struct {
	outside bool // a CompareOutside is running
	granted int  // bytes of excess that are reserved
	equal   map[contents]bool
	limits  *limits
}

// contents identifies two contents. The digest of a stored event alone does not:
// it leaves out a timestamp that was assigned.
type contents struct {
	stored   string
	assigned bool // the timestamp of stored
	sent     Digest
}

func (p *pair) contents(sent *NewEvent) contents {
	return contents{p.stored.Content, p.stored.TimestampAssigned, sent.Digest}
}

// limits bound the work on a batch across requests.
type limits struct {
	slots *turns.Gate // bounds how many batches are compared at a time
	held  *reservation
	body  int64 // bytes that the request holds apart from an excess
}

// directSlots bounds the comparing for callers of stores that are not handlers, and
// so have no limits: half of the CPUs are left to the stores.
var directSlots = turns.NewGate(max(1, runtime.GOMAXPROCS(0)/2))

// room is how much larger than the batch the stored events may be that it is
// compared with, or that are returned for it, in bytes.
func (b *Batch) room() int {
	if !b.compared.outside {
		return 0
	}
	const free = 4 << 10 // so that small events need no reservation
	room := free + b.compared.granted
	for i := range b.Events {
		room += len(b.Events[i].Content)
	}
	return room
}

// undecidedError is the error of Decide if a batch cannot be decided within its
// transaction: the contents are too large for the room that was reserved, or
// have to be compared.
type undecidedError struct {
	excess int
	pairs  []pair
}

func (e *undecidedError) Error() string { return "contents have to be compared" }

func (e *undecidedError) Unwrap() error { return ErrNotStored }

// CompareOutside calls attempt, in whose transaction the store calls [Decide], and
// returns what it returns. If Decide finds that the contents of events have to be
// compared, attempt returns the error of Decide, which is an ErrNotStored; then
// CompareOutside compares them, and calls attempt again with what it found. So no
// transaction waits for it.
//
// A store that calls Decide without CompareOutside works, too: Decide compares.
func CompareOutside(ctx context.Context, b Batch, attempt func(Batch) (AppendResult, error)) (AppendResult, error) {
	// A second attempt decides unless the stored events changed in between.
	const attempts = 10
	b.compared.outside = true
	for range attempts {
		receipt, err := attempt(b)
		if err == nil {
			return receipt, nil
		}
		var undecided *undecidedError
		if !errors.As(err, &undecided) {
			return receipt, err
		}
		if err := b.resolve(ctx, undecided); err != nil {
			return AppendResult{}, err
		}
	}
	return AppendResult{}, fmt.Errorf("%w: the stored events keep changing", ErrNotStored)
}

// resolve does what Decide left undone.
func (b *Batch) resolve(ctx context.Context, u *undecidedError) error {
	c := &b.compared
	if u.excess > 0 {
		if c.limits != nil && !c.limits.held.resize(c.limits.body+int64(u.excess)) {
			return ErrOverloaded
		}
		c.granted = u.excess
		return nil
	}
	slots := directSlots
	if c.limits != nil {
		slots = c.limits.slots
	}
	leave, err := enter(ctx, slots, b.Platform)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotStored, err)
	}
	defer leave()
	equal, err := compare(ctx, b, u.pairs)
	if c.equal == nil {
		c.equal = equal
	}
	maps.Copy(c.equal, equal)
	return err
}

// compare returns the contents of the pairs, or a *ConflictError if one is not
// equal. Any other error is an ErrNotStored.
func compare(ctx context.Context, b *Batch, pairs []pair) (map[contents]bool, error) {
	equal := make(map[contents]bool, len(pairs))
	var fields []string // of the requests of an idempotency key
	for i := range pairs {
		p := &pairs[i]
		sent := &b.Events[p.index]
		if equal[p.contents(sent)] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotStored, err)
		}
		differing, err := p.differences(ctx, sent)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrNotStored, err)
		case len(differing) == 0:
			equal[p.contents(sent)] = true
		case !p.key:
			return nil, &ConflictError{Index: p.index, EventID: p.stored.ID, Fields: differing}
		}
		for _, f := range differing {
			if len(fields) < maxDifferences && !slices.Contains(fields, f) {
				fields = append(fields, f)
			}
		}
	}
	if len(fields) > 0 {
		slices.Sort(fields)
		return nil, &ConflictError{IdempotencyKey: true, Fields: fields}
	}
	return equal, nil
}

// differences returns what differs between the pair. If a key's request sent the
// content that was returned, the sent event may be the returned one, read back with
// the timestamp that the service had assigned to it before.
func (p *pair) differences(ctx context.Context, sent *NewEvent) ([]string, error) {
	differing, err := differences(ctx, p.stored, sent)
	if err != nil || len(differing) == 0 || p.returned == nil {
		return differing, err
	}
	first := NewEvent{Content: p.stored.Content, TimestampAssigned: p.stored.TimestampAssigned, Digest: p.stored.Digest}
	if other, err := differences(ctx, *p.returned, &first); err != nil || len(other) > 0 {
		return differing, err
	}
	return differences(ctx, *p.returned, sent)
}
