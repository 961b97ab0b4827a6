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
			"a retry with its key returns the originals in request order",
			"a key also covers events with references",
			"a request with some replays records its key",
			"keys survive reopening",
		}},
		{"keys ignore case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.IdempotencyKey = strings.ToLower(b.IdempotencyKey) })
		}, []string{"keys are compared in full and case-sensitively"}},
		{"requests with a known key are replays", replayKnownKeys, []string{
			"a key with different content is a key conflict",
			"a key with a different number of events is a key conflict",
			"a key with its events in a different order is a key conflict",
			"a key on a different route is a key conflict",
			"the key is checked before the references",
		}},
		{"digests are compared, not content", compareDigests, []string{"requests with a key compare by content, not by digest"}},
		{"routes are not compared", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Route = chargeingest.RouteBatch })
		}, []string{"a key on a different route is a key conflict"}},
		{"under ReturnOriginal, a key conflict is not reported", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if b.Duplicates == chargeingest.ReturnOriginal {
					return next(ctx, keyed("", b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"ReturnOriginal applies to references, not to keys"}},
		{"a key is compared with the events returned", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if conflict.IdempotencyKey && b.Duplicates == chargeingest.ReturnOriginal {
					b = keyed("", b)
					b.Duplicates = chargeingest.RejectConflict
					return next(ctx, b)
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"a key is compared with the request sent, not with the events returned"}},
		{"a request is stored before its key is checked", checkKeyLast, []string{"a request with a key conflict stores nothing"}},
		{"a key is recorded before the request is stored", recordKeyFirst, []string{"a request with a conflict does not record its key"}},
		{"references are checked before the key", checkReferencesFirst, []string{"the key is checked before the references"}},
		{"a key is recorded only if all events are new", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for _, e := range b.Events {
					if s.hasReference(b.Platform, e.Reference) {
						b.IdempotencyKey = ""
					}
				}
			})
		}, []string{
			"a request with some replays records its key",
			"a request of replays only records its key",
		}},
		{"requests without a key use their digest", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				if b.IdempotencyKey == "" {
					b.IdempotencyKey = fmt.Sprintf("%x", b.Digest)
				}
			})
		}, []string{
			"without a key or references, the same request is stored again",
			"events without a reference are never duplicates",
		}},
		{"under ReturnOriginal, a retry with a key returns the content sent", func(s *store) {
			var mu sync.Mutex
			stored := make(map[string]bool) // keys that stored an event
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				mu.Lock()
				defer mu.Unlock()
				result, err := next(ctx, b)
				if err != nil || b.IdempotencyKey == "" || b.Duplicates != chargeingest.ReturnOriginal {
					return result, err
				}
				for i := range result.Outcomes {
					if o := &result.Outcomes[i]; stored[b.IdempotencyKey] {
						o.Content = b.Events[i].Content
					}
				}
				for _, o := range result.Outcomes {
					stored[b.IdempotencyKey] = stored[b.IdempotencyKey] || !o.Replayed
				}
				return result, err
			})
		}, []string{"a key is compared with the request sent, not with the events returned"}},
		{"timestamps are not compared under a key", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if conflict.IdempotencyKey && slices.Equal(conflict.Fields, []string{"timestamp"}) {
					return next(ctx, keyed("", b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{"a key with different content is a key conflict"}},
	}
}

func replayKnownKeys(s *store) {
	known := make(map[string]chargeingest.AppendResult)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		if result, ok := known[b.IdempotencyKey]; ok {
			return result, nil
		}
		result, err := next(ctx, b)
		if err == nil && b.IdempotencyKey != "" {
			known[b.IdempotencyKey] = result
		}
		return result, err
	})
}

func checkKeyLast(s *store) {
	s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
		if conflict.IdempotencyKey {
			if result, err := next(ctx, keyed("", b)); err != nil {
				return result, err
			}
		}
		return chargeingest.AppendResult{}, conflict
	})
}

func recordKeyFirst(s *store) {
	recorded := make(map[string]chargeingest.Digest)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		if b.IdempotencyKey != "" {
			if digest, ok := recorded[b.IdempotencyKey]; ok && digest != b.Digest {
				return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
			}
			recorded[b.IdempotencyKey] = b.Digest
		}
		return next(ctx, b)
	})
}

func checkReferencesFirst(s *store) {
	s.onConflict(func(_ context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, _ appendFunc) (chargeingest.AppendResult, error) {
		for i, e := range b.Events {
			if s.hasReference(b.Platform, e.Reference) {
				return chargeingest.AppendResult{}, &chargeingest.ConflictError{Index: i}
			}
		}
		return chargeingest.AppendResult{}, conflict
	})
}

func (s *store) hasReference(platform, reference string) bool {
	if reference == "" {
		return false
	}
	page, err := s.list(context.Background(), chargeingest.Query{Platform: platform, Reference: reference, Limit: 1})
	return err == nil && len(page.Events) > 0
}
