package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func outcomeFaults() []fault {
	return []fault{
		{"ids have no prefix", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) { o.ID = o.ID[5:] })
		}, []string{"an id is chda_ and 26 characters that start with the time of receipt"}},
		{"ids are random", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.ID = o.ID[:5] + fmt.Sprintf("%026d", o.ID[len(o.ID)-1])
			})
		}, []string{"ids strictly increase in storage order across platforms"}},
		{"ids start with the time of receipt even if it steps back", func(s *store) {
			s.onOutcome(func(b chargeingest.Batch, i int, o *chargeingest.Outcome) {
				o.ID = storekit.FirstID(b.Events[i].ReceivedAt)[:15] + o.ID[15:]
			})
		}, []string{"ids increase even if the time of receipt steps back"}},
		{"content is reformatted", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				var v any
				if json.Unmarshal([]byte(o.Content), &v) == nil {
					text, _ := json.Marshal(v)
					o.Content = string(text)
				}
			})
		}, []string{"content is stored byte for byte"}},
		{"content is escaped for HTML", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.Content = strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(o.Content)
			})
		}, []string{"content is stored byte for byte"}},
		{"non-ASCII control characters are removed from content", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.Content = strings.ReplaceAll(o.Content, "\u0085", "")
			})
		}, []string{"content is stored byte for byte"}},
		{"digests are not stored", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) { o.Digest = chargeingest.Digest{} })
		}, []string{"Digest and TimestampAssigned are stored with the event"}},
		{"equal calls share a slice", shareResults, []string{
			"the caller may modify the outcomes that Append returns",
			"the caller may modify the events of a page",
		}},
		{"ids start with the time of storage", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].ReceivedAt = received().AddDate(1, 0, 0)
				}
			})
		}, []string{"an id is chda_ and 26 characters that start with the time of receipt"}},
	}
}

func batchFaults() []fault {
	return []fault{
		{"the second half of a long batch is stored first", storeSecondHalfFirst, []string{"a batch of 1,000 events returns its outcomes in request order"}},
		{"events are stored one by one", storeOneByOne, []string{
			"a batch with a conflict stores nothing, whichever event conflicts",
			"a batch with a conflict leaves its references free",
		}},
		{"empty references are compared", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					if b.Events[i].Reference == "" {
						b.Events[i].Reference = "none"
					}
				}
			})
		}, []string{"events without a reference are never duplicates"}},
		{"references are not unique within a batch", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				seen := make(map[string]bool)
				for i := range b.Events {
					if seen[b.Events[i].Reference] {
						b.Events[i].Reference = ""
					}
					seen[b.Events[i].Reference] = true
				}
			})
		}, []string{
			"an event repeated in a batch is stored once and returned at each position",
			"a reference repeated in a batch with different content is a conflict at the later event",
			"a stored event repeated in a batch returns the original at each position",
			"each repetition of a stored event in a batch is compared with the original",
			"under ReturnOriginal, the first event of a batch with a reference is the original",
			"a batch of replays and new events stores the new ones and returns all in request order",
		}},
	}
}

func storeSecondHalfFirst(s *store) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		if len(b.Events) <= 500 {
			return next(ctx, b)
		}
		first, second := b, b
		first.Events, second.Events = b.Events[:500], b.Events[500:]
		later, err := next(ctx, second)
		if err != nil {
			return later, err
		}
		result, err := next(ctx, first)
		result.Outcomes = append(result.Outcomes, later.Outcomes...)
		return result, err
	})
}

func storeOneByOne(s *store) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		var all chargeingest.AppendResult
		for i := range b.Events {
			one := b
			one.Events = b.Events[i : i+1]
			result, err := next(ctx, one)
			var conflict *chargeingest.ConflictError
			if errors.As(err, &conflict) {
				conflict.Index = i
			}
			if err != nil {
				return result, err
			}
			all.Outcomes = append(all.Outcomes, result.Outcomes...)
		}
		return all, nil
	})
}

func shareResults(s *store) {
	var mu sync.Mutex
	results := make(map[string][]chargeingest.Outcome)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		result, err := next(ctx, b)
		mu.Lock()
		defer mu.Unlock()
		if key := b.Platform + b.IdempotencyKey; err == nil && b.IdempotencyKey != "" {
			if len(results[key]) == len(result.Outcomes) {
				result.Outcomes = results[key]
			}
			results[key] = result.Outcomes
		}
		return result, err
	})
	pages := make(map[string][]chargeingest.StoredEvent)
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(q)
		if len(pages[key]) == len(p.Events) {
			p.Events = pages[key]
		}
		pages[key] = p.Events
	})
}

func referenceFaults() []fault {
	return []fault{
		{"references are not unique", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = ""
				}
			})
		}, []string{
			"a retry of an event returns the original",
			"an event without a timestamp is a replay of one without a timestamp",
			"a stored event repeated in a batch returns the original at each position",
			"a batch of replays and new events stores the new ones and returns all in request order",
			"references survive reopening",
		}},
		{"references ignore case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = strings.ToLower(b.Events[i].Reference)
				}
			})
		}, []string{"references are compared in full and case-sensitively"}},
	}
}

func comparisonFaults() []fault {
	return []fault{
		{"digests are compared, not content", compareDigests, []string{
			"an event is a replay by its content, not by its digest or JSON layout",
			"an event without a timestamp is a replay of one without a timestamp",
			"an event with the timestamp that was assigned is a replay",
		}},
		{"timestamps are not compared", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if slices.Equal(conflict.Fields, []string{"timestamp"}) {
					return next(ctx, returnOriginal(b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{
			"a timestamp other than the assigned one is a conflict",
			"an event without the timestamp that was sent first is a conflict",
		}},
		{"ReturnOriginal is always used", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Duplicates = chargeingest.ReturnOriginal })
		}, []string{
			"different content is a conflict that names the stored event and the fields that differ",
			"decimals compare as text: 1.1 and 1.10 differ",
			"a reference repeated in a batch with different content is a conflict at the later event",
			"each repetition of a stored event in a batch is compared with the original",
			"of concurrent events with one reference, one is stored and the others conflict",
		}},
		{"ReturnOriginal is ignored", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Duplicates = chargeingest.RejectConflict })
		}, []string{
			"under ReturnOriginal, different content returns the original",
			"under ReturnOriginal, the first event of a batch with a reference is the original",
		}},
		{"a conflict does not name the stored event", func(s *store) {
			s.onConflict(func(_ context.Context, _ chargeingest.Batch, conflict *chargeingest.ConflictError, _ appendFunc) (chargeingest.AppendResult, error) {
				conflict.EventID = ""
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{
			"different content is a conflict that names the stored event and the fields that differ",
			"of concurrent events with one reference, one is stored and the others conflict",
		}},
		{"a conflict replaces the stored content", replaceOnConflict, []string{"a conflict leaves the stored event unchanged"}},
		{"timestamps are compared as text", func(s *store) {
			timestamp := func(content string) string {
				var e struct{ Timestamp string }
				_ = json.Unmarshal([]byte(content), &e)
				return e.Timestamp
			}
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				result, err := next(ctx, b)
				for i, o := range result.Outcomes {
					if e := b.Events[i]; o.Replayed && !e.TimestampAssigned && timestamp(o.Content) != timestamp(e.Content) {
						return chargeingest.AppendResult{}, &chargeingest.ConflictError{Index: i, EventID: o.ID, Fields: []string{"timestamp"}}
					}
				}
				return result, err
			})
		}, []string{"a timestamp of the same instant in another notation is a replay"}},
	}
}

func compareDigests(s *store) {
	var mu sync.Mutex
	known := make(map[string]chargeingest.Digest)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		mu.Lock()
		defer mu.Unlock()
		if was, ok := known["key "+b.IdempotencyKey]; ok && was != b.Digest {
			return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
		}
		for i, e := range b.Events {
			if was, ok := known[e.Reference]; ok && was != e.Digest {
				return chargeingest.AppendResult{}, &chargeingest.ConflictError{Index: i}
			}
			if e.Reference != "" {
				known[e.Reference] = e.Digest
			}
		}
		if b.IdempotencyKey != "" {
			known["key "+b.IdempotencyKey] = b.Digest
		}
		return next(ctx, b)
	})
}

func replaceOnConflict(s *store) {
	last := make(map[string]string)
	s.onConflict(func(_ context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, _ appendFunc) (chargeingest.AppendResult, error) {
		last[conflict.EventID] = b.Events[conflict.Index].Content
		return chargeingest.AppendResult{}, conflict
	})
	s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
		if content, ok := last[o.ID]; ok {
			o.Content = content
		}
	})
}
