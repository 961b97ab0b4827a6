package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
)

func keyFaults() []fault {
	return []fault{
		{"keys are ignored", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.IdempotencyKey = "" })
		}, []string{
			"a key sent again with its request is answered with the originals in their order",
			"a key protects events that have references, too",
			"a key is bound by a request of which some events are replays",
			"keys outlive their store",
		}},
		{"keys fold their case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.IdempotencyKey = strings.ToLower(b.IdempotencyKey) })
		}, []string{"keys are compared whole and with their case"}},
		{"a key is enough to be a replay", keyAlone, []string{
			"a key with other content is a conflict of the key",
			"a key with another number of events is a conflict of the key",
			"a key with its events in another order is a conflict of the key",
			"a key on another route is a conflict of the key",
			"a key is checked before the references",
		}},
		{"digests decide", digestsDecide, []string{"a key is bound to content and not to a digest"}},
		{"routes are not compared", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Route = chargeingest.RouteBatch })
		}, []string{"a key on another route is a conflict of the key"}},
		{"ReturnOriginal accepts other requests under a key", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Duplicates == chargeingest.ReturnOriginal {
					return next(ctx, keyed("", b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"ReturnOriginal is about references and not about keys"}},
		{"a key is compared with what was returned", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if conflict.IdempotencyKey && b.Duplicates == chargeingest.ReturnOriginal {
					b = keyed("", b)
					b.Duplicates = chargeingest.RejectConflict
					return next(ctx, b)
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"a key is for what was sent and not for what was returned"}},
		{"a request is stored before its key is checked", keyCheckedLast, []string{"a request in conflict with its key stores nothing"}},
		{"a key is bound before the request is stored", keyBoundFirst, []string{"a request that is refused binds no key"}},
		{"references are checked before the key", referencesFirst, []string{"a key is checked before the references"}},
		{"a key is bound only where all events are new", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for _, e := range b.Events {
					if s.knows(b.Platform, e.Reference) {
						b.IdempotencyKey = ""
					}
				}
			})
		}, []string{
			"a key is bound by a request of which some events are replays",
			"a key is bound by a request of which all events are replays",
		}},
		{"a digest serves as key", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				if b.IdempotencyKey == "" {
					b.IdempotencyKey = fmt.Sprintf("%x", b.Digest)
				}
			})
		}, []string{
			"without a key or a reference the same request is stored again",
			"events without a reference are never duplicates",
		}},
		{"ReturnOriginal returns what is sent again under a key", func(s *store) {
			var mu sync.Mutex
			stored := make(map[string]bool) // by keys that stored an event
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				mu.Lock()
				defer mu.Unlock()
				receipt, err := next(ctx, b)
				if err != nil || b.IdempotencyKey == "" || b.Duplicates != chargeingest.ReturnOriginal {
					return receipt, err
				}
				for i := range receipt.Outcomes {
					if o := &receipt.Outcomes[i]; stored[b.IdempotencyKey] {
						o.Content = b.Events[i].Content
					}
				}
				for _, o := range receipt.Outcomes {
					stored[b.IdempotencyKey] = stored[b.IdempotencyKey] || !o.Replayed
				}
				return receipt, err
			})
		}, []string{"a key is for what was sent and not for what was returned"}},
		{"a key is compared in what the events cost and whose they are", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if conflict.IdempotencyKey && slices.Equal(conflict.Fields, []string{"timestamp"}) {
					return next(ctx, keyed("", b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"a key with other content is a conflict of the key"}},
	}
}

// keyAlone replays a known key whatever events come with it.
func keyAlone(s *store) {
	known := make(map[string]chargeingest.AppendResult)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		if receipt, ok := known[b.IdempotencyKey]; ok {
			return receipt, nil
		}
		receipt, err := next(ctx, b)
		if err == nil && b.IdempotencyKey != "" {
			known[b.IdempotencyKey] = receipt
		}
		return receipt, err
	})
}

// keyCheckedLast stores a request that it then refuses for its key.
func keyCheckedLast(s *store) {
	s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
		if conflict.IdempotencyKey {
			if receipt, err := next(ctx, keyed("", b)); err != nil {
				return receipt, err
			}
		}
		return chargeingest.AppendResult{}, conflict
	})
}

// keyBoundFirst remembers a key even if its request is refused.
func keyBoundFirst(s *store) {
	bound := make(map[string]chargeingest.Digest)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		if b.IdempotencyKey != "" {
			if digest, ok := bound[b.IdempotencyKey]; ok && digest != b.Digest {
				return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
			}
			bound[b.IdempotencyKey] = b.Digest
		}
		return next(ctx, b)
	})
}

// referencesFirst refuses a keyed batch for its references if it can.
func referencesFirst(s *store) {
	s.onConflict(func(_ context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, _ appendFunc) (chargeingest.AppendResult, error) {
		for i, e := range b.Events {
			if s.knows(b.Platform, e.Reference) {
				return chargeingest.AppendResult{}, &chargeingest.ConflictError{Index: i}
			}
		}
		return chargeingest.AppendResult{}, conflict
	})
}

// knows reports whether a reference is stored.
func (s *store) knows(platform, reference string) bool {
	if reference == "" {
		return false
	}
	page, err := s.list(context.Background(), chargeingest.Query{Platform: platform, Reference: reference, Limit: 1})
	return err == nil && len(page.Events) > 0
}
