package storetest

import (
	"context"
	"sync"
	"time"

	"example.com/chargeingest"
)

func concurrencyFaults() []fault {
	return []fault{
		{"duplicates are looked up before the transaction", lookUpBeforeTransaction, []string{
			"of 100 concurrent sends of one event, one stores it and the others replay it",
			"of 100 concurrent sends of one request with a key, one stores it and the others replay it",
			"of concurrent events with one reference, one is stored and the others conflict",
			"of concurrent requests with one key, one is stored and the others conflict",
			"overlapping batches in opposite orders all succeed and store each event once",
		}},
		{"all concurrent sends but one fail", func(s *store) {
			var once sync.Once
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (result chargeingest.AppendResult, err error) {
				err = chargeingest.ErrOverloaded
				once.Do(func() { result, err = next(ctx, b) })
				return result, err
			})
		}, []string{
			"of 100 concurrent sends of one event, one stores it and the others replay it",
			"overlapping batches in opposite orders all succeed and store each event once",
		}},
		{"listings miss the last event", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Events = p.Events[:max(0, len(p.Events)-1)] })
		}, []string{"events can be read as soon as Append returns"}},
		{"concurrent sends share an outcome across platforms", shareAcrossPlatforms, []string{
			"of 100 concurrent sends of one event, one stores it and the others replay it",
		}},
		{"under ReturnOriginal, duplicates are looked up before the transaction", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				if last := len(b.Events) - 1; b.Duplicates == chargeingest.ReturnOriginal && !s.hasReference(b.Platform, b.Events[last].Reference) {
					time.Sleep(time.Microsecond)
					b.Events[last].Reference = ""
				}
				return next(ctx, b)
			})
		}, []string{"under ReturnOriginal, concurrent events with one reference all return the stored one"}},
	}
}

func lookUpBeforeTransaction(s *store) {
	var mu sync.Mutex
	looked := 0
	bothLooked := make(chan struct{})
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		mu.Lock()
		looked++
		racing := looked <= 2
		if looked == 2 {
			close(bothLooked)
		}
		mu.Unlock()
		<-bothLooked
		if racing {
			b.IdempotencyKey = ""
			for i := range b.Events {
				b.Events[i].Reference = ""
			}
		}
		return next(ctx, b)
	})
}

func shareAcrossPlatforms(s *store) {
	var mu sync.Mutex
	first := make(map[string]chargeingest.Outcome) // by reference
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		reference := b.Events[0].Reference
		result, err := next(ctx, b)
		if err != nil || len(b.Events) > 1 || reference == "" {
			return result, err
		}
		mu.Lock()
		o, ok := first[reference]
		if !ok {
			first[reference] = result.Outcomes[0]
		}
		mu.Unlock()
		if ok && o.ID != result.Outcomes[0].ID && o.Digest == b.Events[0].Digest {
			o.Replayed = true
			result.Outcomes[0] = o
			return result, nil
		}
		time.Sleep(time.Microsecond)
		mu.Lock()
		delete(first, reference)
		mu.Unlock()
		return result, err
	})
}
