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

func answerFaults() []fault {
	return []fault{
		{"ids have no prefix", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) { o.ID = o.ID[5:] })
		}, []string{"an id is chda_ and 26 characters that begin with the time of receipt"}},
		{"ids are random", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.ID = o.ID[:5] + fmt.Sprintf("%026d", o.ID[len(o.ID)-1])
			})
		}, []string{"ids strictly increase in the order of storing, over all platforms"}},
		{"ids follow the clock alone", func(s *store) {
			s.onOutcome(func(b chargeingest.Batch, i int, o *chargeingest.Outcome) {
				o.ID = storekit.FirstID(b.Events[i].ReceivedAt)[:15] + o.ID[15:]
			})
		}, []string{"ids increase though the time of receipt steps back"}},
		{"content is parsed and written anew", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				var v any
				if json.Unmarshal([]byte(o.Content), &v) == nil {
					text, _ := json.Marshal(v)
					o.Content = string(text)
				}
			})
		}, []string{"content is kept byte for byte"}},
		{"content is escaped for HTML", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.Content = strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(o.Content)
			})
		}, []string{"content is kept byte for byte"}},
		{"control characters beyond ASCII are dropped from content", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) {
				o.Content = strings.ReplaceAll(o.Content, "\u0085", "")
			})
		}, []string{"content is kept byte for byte"}},
		{"digests are not kept", func(s *store) {
			s.onOutcome(func(_ chargeingest.Batch, _ int, o *chargeingest.Outcome) { o.Digest = chargeingest.Digest{} })
		}, []string{"digest and TimestampAssigned are kept with the event"}},
		{"answers share what is kept", shareAnswers, []string{
			"the outcomes of a receipt are the caller's to change",
			"the events of a page are the caller's to change",
		}},
		{"ids are of the time of storing", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].ReceivedAt = received().AddDate(1, 0, 0)
				}
			})
		}, []string{"an id is chda_ and 26 characters that begin with the time of receipt"}},
	}
}

func batchFaults() []fault {
	return []fault{
		{"long batches are stored in two parts", inTwoParts, []string{"a batch of a thousand events is answered in the order sent"}},
		{"events are stored one by one", oneByOne, []string{
			"of a batch in conflict nothing is stored, whichever event is at fault",
			"of a batch in conflict no reference is taken",
		}},
		{"an empty reference is a reference", func(s *store) {
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
			"the same event twice in a batch is stored once and answered in both places",
			"a reference twice in a batch with other content is a conflict of the later event",
			"a stored event twice in a batch is answered with the original in both places",
			"a stored event twice in a batch is compared with the original each time",
			"under ReturnOriginal the first of a batch wins",
			"a batch of replays and new events stores the new ones and answers all in order",
		}},
	}
}

// inTwoParts stores the second half of a long batch before the first.
func inTwoParts(s *store) {
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
		receipt, err := next(ctx, first)
		receipt.Outcomes = append(receipt.Outcomes, later.Outcomes...)
		return receipt, err
	})
}

// oneByOne stores the events of a batch up to the first that is refused.
func oneByOne(s *store) {
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		var all chargeingest.AppendResult
		for i := range b.Events {
			one := b
			one.Events = b.Events[i : i+1]
			receipt, err := next(ctx, one)
			var conflict *chargeingest.ConflictError
			if errors.As(err, &conflict) {
				conflict.Index = i
			}
			if err != nil {
				return receipt, err
			}
			all.Outcomes = append(all.Outcomes, receipt.Outcomes...)
		}
		return all, nil
	})
}

// shareAnswers makes equal calls return the same slice.
func shareAnswers(s *store) {
	var mu sync.Mutex
	receipts := make(map[string][]chargeingest.Outcome)
	s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
		receipt, err := next(ctx, b)
		mu.Lock()
		defer mu.Unlock()
		if key := b.Platform + b.IdempotencyKey; err == nil && b.IdempotencyKey != "" {
			if len(receipts[key]) == len(receipt.Outcomes) {
				receipt.Outcomes = receipts[key]
			}
			receipts[key] = receipt.Outcomes
		}
		return receipt, err
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
			"the same event sent again is answered with the original",
			"a timestamp left out both times is the same",
			"a stored event twice in a batch is answered with the original in both places",
			"a batch of replays and new events stores the new ones and answers all in order",
			"references outlive their store",
		}},
		{"references fold their case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = strings.ToLower(b.Events[i].Reference)
				}
			})
		}, []string{"references are compared whole and with their case"}},
	}
}

func comparingFaults() []fault {
	return []fault{
		{"digests decide", digestsDecide, []string{
			"content decides and not the digest or the layout",
			"a timestamp left out both times is the same",
			"a timestamp sent that equals the assigned one is the same",
		}},
		{"timestamps are not compared", func(s *store) {
			s.onConflict(func(ctx context.Context, b chargeingest.Batch, conflict *chargeingest.ConflictError, next appendFunc) (chargeingest.AppendResult, error) {
				if slices.Equal(conflict.Fields, []string{"timestamp"}) {
					return next(ctx, returnOriginal(b))
				}
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{
			"a timestamp sent that is not the assigned one is a conflict",
			"a timestamp sent first and left out then is a conflict",
		}},
		{"every duplicate is accepted", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Duplicates = chargeingest.ReturnOriginal })
		}, []string{
			"other content is a conflict that names the event stored first and what differs",
			"text is the same only as it is spelled",
			"a reference twice in a batch with other content is a conflict of the later event",
			"a stored event twice in a batch is compared with the original each time",
			"of contents that race for a reference one is stored and the others conflict with it",
		}},
		{"ReturnOriginal is ignored", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Duplicates = chargeingest.RejectConflict })
		}, []string{
			"under ReturnOriginal other content is answered with the original",
			"under ReturnOriginal the first of a batch wins",
		}},
		{"a conflict does not say with what", func(s *store) {
			s.onConflict(func(_ context.Context, _ chargeingest.Batch, conflict *chargeingest.ConflictError, _ appendFunc) (chargeingest.AppendResult, error) {
				conflict.EventID = ""
				return chargeingest.AppendResult{}, conflict
			})
		}, []string{
			"other content is a conflict that names the event stored first and what differs",
			"of contents that race for a reference one is stored and the others conflict with it",
		}},
		{"what is refused replaces what is stored", refusedReplaces, []string{"a conflict changes nothing of the event stored first"}},
		{"timestamps are compared as text", func(s *store) {
			timestamp := func(content string) string {
				var e struct{ Timestamp string }
				_ = json.Unmarshal([]byte(content), &e)
				return e.Timestamp
			}
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				receipt, err := next(ctx, b)
				for i, o := range receipt.Outcomes {
					if e := b.Events[i]; o.Replayed && !e.TimestampAssigned && timestamp(o.Content) != timestamp(e.Content) {
						return chargeingest.AppendResult{}, &chargeingest.ConflictError{Index: i, EventID: o.ID, Fields: []string{"timestamp"}}
					}
				}
				return receipt, err
			})
		}, []string{"a timestamp that is the same instant in another spelling is the same"}},
	}
}

// digestsDecide refuses a known reference or key with another digest.
func digestsDecide(s *store) {
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

// refusedReplaces returns the content that was sent last for a reference.
func refusedReplaces(s *store) {
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
