package storekit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/limits"
)

// Attempt is one attempt of [Append] to store a batch.
type Attempt struct {
	chargeingest.Batch

	deferred      bool // compare contents outside the transaction
	grantedExcess int  // reserved bytes
	equal         map[contents]bool
}

// contents identifies two contents. The stored one's digest leaves out an assigned timestamp.
type contents struct {
	stored            string
	timestampAssigned bool // of stored
	sent              chargeingest.Digest
}

func (p *pair) contents(sent *chargeingest.NewEvent) contents {
	return contents{p.stored.Content, p.stored.TimestampAssigned, sent.Digest}
}

// defaultGate is for callers that are not handlers.
var defaultGate = limits.NewGate(max(1, runtime.GOMAXPROCS(0)/2))

func (a *Attempt) maxExcess() int {
	if !a.deferred {
		return 0
	}
	const unreserved = 4 << 10 // small events need no reservation
	n := unreserved + a.grantedExcess
	for i := range a.Events {
		n += len(a.Events[i].Content)
	}
	return n
}

// undecidedError means that contents exceed the reservation or have to be compared.
type undecidedError struct {
	excess int
	pairs  []pair
}

func (e *undecidedError) Error() string { return "event contents must be compared first" }

func (e *undecidedError) Unwrap() error { return chargeingest.ErrNotStored }

// Append stores a batch. It calls attempt, which runs one transaction, calls [Attempt.Decide]
// in it, and returns Decide's error, if any. If contents have to be compared, Append does so
// while no transaction is open, and calls attempt again. It returns the last result.
//
// ctx must derive from that of EventStore.Append, which carries the limits of the request's
// memory and of concurrent comparisons.
func Append(ctx context.Context, b chargeingest.Batch, attempt func(Attempt) (chargeingest.AppendResult, error)) (chargeingest.AppendResult, error) {
	// The second decides the batch, unless the stored events changed in between.
	const maxAttempts = 10
	a := Attempt{Batch: b, deferred: true}
	for range maxAttempts {
		result, err := attempt(a)
		if err == nil {
			return result, nil
		}
		var undecided *undecidedError
		if !errors.As(err, &undecided) {
			return result, err
		}
		if err := a.prepareNext(ctx, undecided); err != nil {
			return chargeingest.AppendResult{}, err
		}
	}
	return chargeingest.AppendResult{}, fmt.Errorf("%w: the stored events keep changing", chargeingest.ErrNotStored)
}

func (a *Attempt) prepareNext(ctx context.Context, u *undecidedError) error {
	l := limits.ComparisonOf(ctx)
	if u.excess > 0 {
		if l != nil && !l.Reservation.Resize(l.BodyBytes+int64(u.excess)) {
			return chargeingest.ErrOverloaded
		}
		a.grantedExcess = u.excess
		return nil
	}
	gate := defaultGate
	if l != nil {
		gate = l.Gate
	}
	leave, err := gate.EnterEvenIfDone(ctx, a.Platform)
	if err != nil {
		return fmt.Errorf("%w: %w", chargeingest.ErrNotStored, err)
	}
	defer leave()
	equal, err := compare(ctx, &a.Batch, u.pairs)
	if a.equal == nil {
		a.equal = equal
	}
	maps.Copy(a.equal, equal)
	return err
}

// compare returns a *chargeingest.ConflictError if a pair differs, or else a
// chargeingest.ErrNotStored.
func compare(ctx context.Context, b *chargeingest.Batch, pairs []pair) (map[contents]bool, error) {
	equal := make(map[contents]bool, len(pairs))
	var keyConflict []string // differing fields of the request with the same key
	for i := range pairs {
		p := &pairs[i]
		sent := &b.Events[p.index]
		if equal[p.contents(sent)] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", chargeingest.ErrNotStored, err)
		}
		differing, err := p.differences(ctx, sent)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", chargeingest.ErrNotStored, err)
		case len(differing) == 0:
			equal[p.contents(sent)] = true
		case !p.byKey:
			return nil, &chargeingest.ConflictError{Index: p.index, EventID: p.stored.ID, Fields: differing}
		}
		for _, f := range differing {
			if len(keyConflict) < maxDifferences && !slices.Contains(keyConflict, f) {
				keyConflict = append(keyConflict, f)
			}
		}
	}
	if len(keyConflict) > 0 {
		slices.Sort(keyConflict)
		return nil, &chargeingest.ConflictError{IdempotencyKey: true, Fields: keyConflict}
	}
	return equal, nil
}

// differences allows a retry to send the returned content, with an assigned timestamp.
func (p *pair) differences(ctx context.Context, sent *chargeingest.NewEvent) ([]string, error) {
	differing, err := differences(ctx, p.stored, sent)
	if err != nil || len(differing) == 0 || p.returned == nil {
		return differing, err
	}
	first := chargeingest.NewEvent{Content: p.stored.Content, TimestampAssigned: p.stored.TimestampAssigned, Digest: p.stored.Digest}
	if other, err := differences(ctx, *p.returned, &first); err != nil || len(other) > 0 {
		return differing, err
	}
	return differences(ctx, *p.returned, sent)
}
