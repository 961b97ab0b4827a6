package storetest

import (
	"context"
	"errors"
	"slices"

	"example.com/chargeingest"
)

// fault is a way to break a store, with the rules whose cases must notice.
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

// onAppend puts a function before Append, which gets the Append before it.
func (s *store) onAppend(f func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error)) {
	next := s.append
	s.append = func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
		// The caller must not see the changes.
		b.Events = slices.Clone(b.Events)
		return f(ctx, b, next)
	}
}

// onList puts a function before List.
func (s *store) onList(f func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error)) {
	next := s.list
	s.list = func(ctx context.Context, q chargeingest.Query) (chargeingest.Page, error) { return f(ctx, q, next) }
}

// onGet puts a function before Get.
func (s *store) onGet(f func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error)) {
	next := s.get
	s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
		return f(ctx, platform, id, next)
	}
}

// onBatch changes batches on their way in.
func (s *store) onBatch(change func(*chargeingest.Batch)) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		change(&b)
		return next(ctx, b)
	})
}

// onOutcome changes outcomes on their way out; i is the event's index.
func (s *store) onOutcome(change func(b chargeingest.Batch, i int, o *chargeingest.Outcome)) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		result, err := next(ctx, b)
		for i := range result.Outcomes {
			change(b, i, &result.Outcomes[i])
		}
		return result, err
	})
}

// onQuery changes queries on their way in.
func (s *store) onQuery(change func(*chargeingest.Query)) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		change(&q)
		return next(ctx, q)
	})
}

// onPage changes pages on their way out.
func (s *store) onPage(change func(q chargeingest.Query, p *chargeingest.Page)) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		page, err := next(ctx, q)
		change(q, &page)
		return page, err
	})
}

// onConflict puts a function behind each conflict, which decides again.
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
