package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/chargeingest"
)

func sizeFaults() []fault {
	const large = "a batch of thousands of events and several MiB is atomic and keeps earlier records"
	return []fault{
		{"batches over 1 MiB are rejected", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				size := 0
				for _, e := range b.Events {
					size += len(e.Content)
				}
				if size > 1<<20 {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return next(ctx, b)
			})
		}, []string{large, "content is stored byte for byte"}},
		{"references are forgotten after 1,000 events", func(s *store) { forgetOld(s, false) }, []string{large}},
		{"keys are forgotten after 1,000 events", func(s *store) { forgetOld(s, true) }, []string{large}},
		{"batches over 1,000 events are rejected", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if len(b.Events) > 1000 {
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return next(ctx, b)
			})
		}, []string{large}},
		{"batches are stored in chunks of 1,000 events", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				var all chargeingest.AppendResult
				for events := range slices.Chunk(b.Events, 1000) {
					part := b
					part.Events = events
					result, err := next(ctx, part)
					if err != nil {
						return result, err
					}
					all.Outcomes = append(all.Outcomes, result.Outcomes...)
				}
				return all, nil
			})
		}, []string{large}},
		{"batches over 6,553 events are rejected", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if len(b.Events) > 6553 { // 65,535 parameters, 10 for each event
					return chargeingest.AppendResult{}, chargeingest.ErrNotStored
				}
				return next(ctx, b)
			})
		}, []string{large}},
		{"references of a batch are compared in chunks of 1,000", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				first := make(map[string]int)
				for i, e := range b.Events {
					if at, ok := first[e.Reference]; !ok {
						first[e.Reference] = i
					} else if at/1000 != i/1000 {
						b.Events[i].Reference = ""
					}
				}
			})
		}, []string{large}},
		{"keys of batches over 1,000 events are not recorded", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				if len(b.Events) > 1000 {
					b.IdempotencyKey = ""
				}
			})
		}, []string{large}},
		{"keys are forgotten after 1,000 others", func(s *store) {
			var mu sync.Mutex
			used := make(map[string]int) // number of earlier keys
			s.onBatch(func(b *chargeingest.Batch) {
				mu.Lock()
				defer mu.Unlock()
				if at, ok := used[b.IdempotencyKey]; !ok {
					used[b.IdempotencyKey] = len(used)
				} else if len(used)-at > 1000 {
					b.IdempotencyKey = ""
				}
			})
		}, []string{"a key stays recorded after 1,000 others"}},
		{"references are forgotten after a year", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					if e := &b.Events[i]; e.Reference != "" {
						e.Reference += e.ReceivedAt.Format("-2006")
					}
				}
			})
		}, []string{"an event without a timestamp is a replay of one without a timestamp"}},
		{"keys are forgotten after a year", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				if b.IdempotencyKey != "" {
					b.IdempotencyKey += b.Events[0].ReceivedAt.Format("-2006")
				}
			})
		}, []string{"requests with a key compare by content, not by digest"}},
		{"a filtered listing ends after 1,000 events", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if filtered(q) && q.After != "" && q.Limit == 1000 {
					return chargeingest.Page{Position: page.Position}, err
				}
				return page, err
			})
		}, []string{large}},
		{"a filtered page scans 1,000 events", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				seen, _ := next(ctx, chargeingest.Query{Platform: q.Platform, After: q.After, Order: q.Order, Limit: 1000})
				page.Events = slices.DeleteFunc(page.Events, func(e chargeingest.StoredEvent) bool {
					return filtered(q) && !slices.Contains(seen.Events, e)
				})
				return page, err
			})
		}, []string{large}},
		{"a page ends after 1,000 events without a Next", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) > 1000 {
					p.Events, p.Next = p.Events[:1000], ""
				}
			})
		}, []string{large}},
		{"ErrResponseTooLarge records the key", func(s *store) {
			recorded := make(map[string]bool)
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if recorded[b.IdempotencyKey] {
					return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
				}
				result, err := next(ctx, b)
				recorded[b.IdempotencyKey] = b.IdempotencyKey != "" && errors.Is(err, chargeingest.ErrResponseTooLarge)
				return result, err
			})
		}, []string{"a batch whose replays exceed its own events by 16 MiB returns ErrResponseTooLarge and stores nothing"}},
		{"List truncates content to 1 MiB", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				for i := range p.Events {
					p.Events[i].Content = truncateBytes(1 << 20)(p.Events[i].Content)
				}
			})
		}, []string{"content is stored byte for byte"}},
		{"the size of replays is not limited", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				result, err := next(ctx, b)
				if !errors.Is(err, chargeingest.ErrResponseTooLarge) {
					return result, err
				}
				var all chargeingest.AppendResult
				for _, e := range b.Events {
					one := b
					one.Events = []chargeingest.NewEvent{e}
					result, err := next(ctx, one)
					if err != nil {
						return result, err
					}
					all.Outcomes = append(all.Outcomes, result.Outcomes...)
				}
				return all, nil
			})
		}, []string{"a batch whose replays exceed its own events by 16 MiB returns ErrResponseTooLarge and stores nothing"}},
	}
}

func forgetOld(s *store, keys bool) {
	var mu sync.Mutex
	stored := 0
	known := make(map[string]int) // number of events stored up to a key or reference
	forgotten := func(name string) bool {
		at, ok := known[name]
		return ok && stored > at+1000
	}
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		mu.Lock()
		defer mu.Unlock()
		key := b.IdempotencyKey
		if keys && forgotten(key) {
			b.IdempotencyKey = ""
		}
		for i, e := range b.Events {
			if !keys && forgotten(e.Reference) {
				b.Events[i].Reference = ""
			}
		}
		result, err := next(ctx, b)
		for i, o := range result.Outcomes {
			if !o.Replayed {
				stored++
				known[key], known[b.Events[i].Reference] = stored, stored
			}
		}
		return result, err
	})
}
