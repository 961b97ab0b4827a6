package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/chargeingest"
)

func sizeFaults() []fault {
	const large = "thousands of events and megabytes at once are stored whole or not at all, and what came before stays known"
	return []fault{
		{"batches above 1 MiB are refused", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
				size := 0
				for _, e := range b.Events {
					size += len(e.Content)
				}
				if size > 1<<20 {
					return chargeingest.Receipt{}, chargeingest.ErrNotStored
				}
				return next(ctx, b)
			})
		}, []string{large, "content is kept byte for byte"}},
		{"a reference is known among the newest 1,000 events", func(s *store) { forgetful(s, false) }, []string{large}},
		{"a key is known among the newest 1,000 events", func(s *store) { forgetful(s, true) }, []string{large}},
		{"batches above 1,000 events are refused", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
				if len(b.Events) > 1000 {
					return chargeingest.Receipt{}, chargeingest.ErrNotStored
				}
				return next(ctx, b)
			})
		}, []string{large}},
		{"a thousand events are stored at a time", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
				var all chargeingest.Receipt
				for events := range slices.Chunk(b.Events, 1000) {
					part := b
					part.Events = events
					receipt, err := next(ctx, part)
					if err != nil {
						return receipt, err
					}
					all.Outcomes = append(all.Outcomes, receipt.Outcomes...)
				}
				return all, nil
			})
		}, []string{large}},
		{"content is cut at 1 MiB where it is read", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				for i := range p.Events {
					p.Events[i].Content = cutBytes(1 << 20)(p.Events[i].Content)
				}
			})
		}, []string{"content is kept byte for byte"}},
		{"replays may be of any size", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
				receipt, err := next(ctx, b)
				if !errors.Is(err, chargeingest.ErrAnswerTooLarge) {
					return receipt, err
				}
				var all chargeingest.Receipt
				for _, e := range b.Events {
					one := b
					one.Events = []chargeingest.NewEvent{e}
					receipt, err := next(ctx, one)
					if err != nil {
						return receipt, err
					}
					all.Outcomes = append(all.Outcomes, receipt.Outcomes...)
				}
				return all, nil
			})
		}, []string{"a batch that repeats what is larger by 16 MiB is ErrAnswerTooLarge and stores nothing"}},
	}
}

// forgetful knows a key, or else a reference, until 1,000 more events are stored.
func forgetful(s *store, keys bool) {
	var mu sync.Mutex
	stored := 0
	known := make(map[string]int) // the number of events when the key or reference was stored
	forgotten := func(name string) bool {
		at, ok := known[name]
		return ok && stored > at+1000
	}
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
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
		receipt, err := next(ctx, b)
		for i, o := range receipt.Outcomes {
			if !o.Replayed {
				stored++
				known[key], known[b.Events[i].Reference] = stored, stored
			}
		}
		return receipt, err
	})
}
