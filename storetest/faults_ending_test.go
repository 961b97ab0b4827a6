package storetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"example.com/chargeingest"
)

func endingFaults() []fault {
	return []fault{
		{"contexts are ignored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				return next(context.WithoutCancel(ctx), b)
			})
		}, []string{"a call whose context has ended before it stores nothing"}},
		{"a context whose deadline has passed has not ended", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					ctx = context.WithoutCancel(ctx)
				}
				return next(ctx, b)
			})
		}, []string{"a call whose context has ended before it stores nothing"}},
		{"a failure after storing is called ErrNotStored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				receipt, err := next(context.WithoutCancel(ctx), b)
				if err == nil && !receipt.Outcomes[0].Replayed && strings.HasSuffix(b.IdempotencyKey, "8") {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return receipt, err
			})
		}, []string{
			"a context that ends meanwhile never hides what was stored",
			"a store that is closed while events come in keeps what it acknowledged",
		}},
		{"Close is ignored", func(s *store) { s.refuses = false }, []string{
			"a closed store refuses every batch with ErrClosed",
			"an open store is ready and a closed one is not",
		}},
		{"nothing outlives Close", func(s *store) { s.forgets = true }, []string{
			"events outlive their store, in the order of storing",
			"references outlive their store",
			"keys outlive their store",
			"cursors outlive their store",
			"ids still increase after reopening",
			"a store that is closed while events come in keeps what it acknowledged",
		}},
		{"what was sent under a key does not outlive the store", func(s *store) {
			s.reopened = func(s *store) {
				s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
					receipt, err := next(ctx, b)
					for i, o := range receipt.Outcomes {
						if o.Replayed && b.IdempotencyKey != "" && o.Digest != b.Events[i].Digest {
							return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
						}
					}
					return receipt, err
				})
			}
		}, []string{"keys outlive their store"}},
		{"a reopened store filters by CustomerID alone", func(s *store) {
			s.reopened = func(s *store) {
				s.onQuery(func(q *chargeingest.Query) { q.CustomerReference, q.ProductItemID = "", "" })
			}
		}, []string{"events outlive their store, in the order of storing"}},
		{"a context that ends while a single event is stored is called ErrNotStored", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Route != chargeingest.RouteSingle {
					return next(ctx, b)
				}
				receipt, err := next(context.WithoutCancel(ctx), b)
				if time.Sleep(time.Microsecond); ctx.Err() != nil {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return receipt, err
			})
		}, []string{"a context that ends meanwhile never hides what was stored"}},
		{"single events ignore contexts", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Route == chargeingest.RouteSingle {
					ctx = context.WithoutCancel(ctx)
				}
				return next(ctx, b)
			})
		}, []string{"a call whose context has ended before it stores nothing"}},
		{"a closed store repeats what has a key", func(s *store) { s.repeats = true },
			[]string{"a closed store refuses every batch with ErrClosed"}},
		{"Stats count requests that have left the queue", func(s *store) {
			s.onBatch(func(*chargeingest.Batch) { s.stats.QueuedRequests++ })
		}, []string{"Stats tell of no queue where nothing waits, and of what the last commit stored"}},
		{"Stats count replays as stored", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				s.stats.Commits++
				s.stats.LastCommit = chargeingest.CommitStats{Requests: 1, Events: len(b.Events)}
			})
		}, []string{"Stats tell of no queue where nothing waits, and of what the last commit stored"}},
	}
}
