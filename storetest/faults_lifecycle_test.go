package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"example.com/chargeingest"
)

func lifecycleFaults() []fault {
	return []fault{
		{"contexts are ignored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				return next(context.WithoutCancel(ctx), b)
			})
		}, []string{"Append with an ended context returns ErrNotStored and stores nothing"}},
		{"expired deadlines are ignored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					ctx = context.WithoutCancel(ctx)
				}
				return next(ctx, b)
			})
		}, []string{"Append with an ended context returns ErrNotStored and stores nothing"}},
		{"a failure after the commit returns ErrNotStored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				result, err := next(context.WithoutCancel(ctx), b)
				if err == nil && !result.Outcomes[0].Replayed && strings.HasSuffix(b.IdempotencyKey, "8") {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return result, err
			})
		}, []string{
			"if a context ends during Append, ErrNotStored means that nothing was stored",
			"a store closed during appends keeps every acknowledged event",
		}},
		{"Close is ignored", func(s *store) { s.rejectsAfterClose = false }, []string{
			"a closed store returns ErrClosed for every batch",
			"an open store is ready and a closed store is not",
		}},
		{"Close loses all data", func(s *store) { s.losesData = true }, []string{
			"events survive reopening in storage order",
			"references survive reopening",
			"keys survive reopening",
			"cursors survive reopening",
			"ids keep increasing after reopening",
			"a store closed during appends keeps every acknowledged event",
		}},
		{"reopening loses the requests of keys", func(s *store) {
			s.onReopen = func(s *store) {
				s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
					result, err := next(ctx, b)
					for i, o := range result.Outcomes {
						if o.Replayed && b.IdempotencyKey != "" && o.Digest != b.Events[i].Digest {
							return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
						}
					}
					return result, err
				})
			}
		}, []string{"keys survive reopening"}},
		{"after reopening, only CustomerID filters", func(s *store) {
			s.onReopen = func(s *store) {
				s.onQuery(func(q *chargeingest.Query) { q.CustomerReference, q.ProductItemID = "", "" })
			}
		}, []string{"events survive reopening in storage order"}},
		{"a context that ends during the commit of a single event returns ErrNotStored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Route != chargeingest.RouteSingle {
					return next(ctx, b)
				}
				result, err := next(context.WithoutCancel(ctx), b)
				if time.Sleep(time.Microsecond); ctx.Err() != nil {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return result, err
			})
		}, []string{"if a context ends during Append, ErrNotStored means that nothing was stored"}},
		{"an ended context is returned as it is", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if err := ctx.Err(); err != nil {
					return chargeingest.AppendResult{}, err
				}
				return next(ctx, b)
			})
		}, []string{"Append with an ended context returns ErrNotStored and stores nothing"}},
		{"an unknown outcome is not ErrOutcomeUnknown", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				result, err := next(context.WithoutCancel(ctx), b)
				if err == nil && !result.Outcomes[0].Replayed && strings.HasSuffix(b.IdempotencyKey, "8") {
					return chargeingest.AppendResult{}, errors.New("connection lost")
				}
				return result, err
			})
		}, []string{"if a context ends during Append, ErrNotStored means that nothing was stored"}},
		{"contexts are ignored for single events", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Route == chargeingest.RouteSingle {
					ctx = context.WithoutCancel(ctx)
				}
				return next(ctx, b)
			})
		}, []string{"Append with an ended context returns ErrNotStored and stores nothing"}},
		{"a closed store replays requests with a key", func(s *store) { s.replaysAfterClose = true },
			[]string{"a closed store returns ErrClosed for every batch"}},
		{"Stats count requests that are no longer queued", func(s *store) {
			s.onBatch(func(*chargeingest.Batch) { s.stats.QueuedRequests++ })
		}, []string{"Stats reports an empty queue if no request is waiting, and the size of the last commit"}},
		{"Stats count replays", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				s.stats.Commits++
				s.stats.LastCommit = chargeingest.CommitStats{Requests: 1, Events: len(b.Events)}
			})
		}, []string{"Stats reports an empty queue if no request is waiting, and the size of the last commit"}},
	}
}
