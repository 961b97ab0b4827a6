package storetest

import (
	"context"
	"errors"
	"slices"

	"example.com/chargeingest"
)

// fault breaks a store, so that the cases of the rules in caughtBy must fail.
type fault struct {
	name     string
	inject   func(*store)
	caughtBy []string
}

func faults() []fault {
	return slices.Concat(
		outcomeFaults(), batchFaults(), lifecycleFaults(), referenceFaults(), comparisonFaults(),
		keyFaults(), concurrencyFaults(), platformFaults(), readingFaults(), pagingFaults(), followingFaults(), filterFaults(),
		nameFaults(), sizeFaults(),
	)
}

type (
	getFunc    func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error)
	appendFunc func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error)
	listFunc   func(context.Context, chargeingest.Query) (chargeingest.Page, error)
)

func (s *store) onAppend(f func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error)) {
	next := s.append
	s.append = func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
		b.Events = slices.Clone(b.Events) // f may modify them
		return f(ctx, b, next)
	}
}

func (s *store) onList(f func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error)) {
	next := s.list
	s.list = func(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) { return f(ctx, q, next) }
}

func (s *store) onGet(f func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error)) {
	next := s.get
	s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
		return f(ctx, platform, id, next)
	}
}

func (s *store) onBatch(change func(*chargeingest.Batch)) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		change(&b)
		return next(ctx, b)
	})
}

func (s *store) onOutcome(change func(b chargeingest.Batch, i int, o *chargeingest.Outcome)) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		result, err := next(ctx, b)
		for i := range result.Outcomes {
			change(b, i, &result.Outcomes[i])
		}
		return result, err
	})
}

func (s *store) onQuery(change func(*chargeingest.Query)) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		change(&q)
		return next(ctx, q)
	})
}

func (s *store) onPage(change func(q chargeingest.Query, p *chargeingest.Page)) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		page, err := next(ctx, q)
		change(q, &page)
		return page, err
	})
}

func (s *store) onConflict(f func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error)) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		result, err := next(ctx, b)
		var conflict *chargeingest.ConflictError
		if errors.As(err, &conflict) {
			return f(ctx, b, conflict, next)
		}
		return result, err
	})
}
