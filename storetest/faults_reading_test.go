package storetest

import (
	"context"
	"errors"
	"strings"

	"example.com/chargeingest"
)

func platformFaults() []fault {
	return []fault{
		{"platforms are ignored", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Platform = "all" })
			s.onQuery(func(q *chargeingest.Query) { q.Platform = "all" })
			get := s.get
			s.get = func(ctx context.Context, _, id string) (chargeingest.StoredEvent, error) { return get(ctx, "all", id) }
		}, []string{
			"platforms do not share references",
			"platforms do not share keys",
			"Get does not find events of another platform",
			"List does not return events of another platform",
			"a cursor does not expose the events of its platform to another",
		}},
		{"platform and reference are concatenated", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = b.Platform + "_" + b.Events[i].Reference
				}
				b.Platform = "all"
			})
		}, []string{"platform names are compared in full and case-sensitively"}},
		{"platforms ignore case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Platform = strings.ToLower(b.Platform) })
		}, []string{"platform names are compared in full and case-sensitively"}},
		{"a cursor includes its platform", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if platform, cursor, ok := strings.Cut(q.After, "."); ok {
					q.Platform, q.After = platform, cursor
				}
				page, err := next(ctx, q)
				for _, cursor := range []*string{&page.Next, &page.Position} {
					if *cursor != "" {
						*cursor = q.Platform + "." + *cursor
					}
				}
				return page, err
			})
		}, []string{"a cursor does not expose the events of its platform to another"}},
	}
}

func readingFaults() []fault {
	return []fault{
		{"Get truncates content", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				e.Content = e.Content[:len(e.Content)/2]
				return e, err
			}
		}, []string{"Get returns each event as Append returned it"}},
		{"Get returns an empty event for an unknown id", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				if errors.Is(err, chargeingest.ErrNotFound) {
					err = nil
				}
				return e, err
			}
		}, []string{"Get returns ErrNotFound for an unknown id", "Get does not find events of another platform"}},
		{"every error of Get is ErrNotFound", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				if err != nil {
					err = chargeingest.ErrNotFound
				}
				return e, err
			}
		}, []string{"Get and List with an ended context return an error or the right result"}},
		{"ascending and descending are swapped", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) { q.Order = chargeingest.Ascending - q.Order })
		}, []string{"List returns events in storage order, newest first by default"}},
		{"replays are stored as new events", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				result, err := next(ctx, b)
				if err == nil && result.Outcomes[0].Replayed {
					again := keyed("", b)
					again.Events[0].Reference = ""
					_, err = next(ctx, again)
				}
				return result, err
			})
		}, []string{"replays and conflicts add nothing to a listing", "a retry of an event returns the original"}},
		{"filtered pages share a slice", func(s *store) {
			kept := make(map[string][]chargeingest.StoredEvent)
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				key := describe(q)
				if filtered(q) && len(kept[key]) == len(p.Events) {
					p.Events = kept[key]
				}
				kept[key] = p.Events
			})
		}, []string{"the caller may modify the events of a page"}},
		{"a filtered listing with an ended context is empty", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if ctx.Err() != nil && filtered(q) {
					return chargeingest.Page{}, nil
				}
				return next(ctx, q)
			})
		}, []string{"Get and List with an ended context return an error or the right result"}},
		{"Get treats O as 0 and I as 1", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				return next(ctx, platform, strings.NewReplacer("O", "0", "I", "1").Replace(id))
			})
		}, []string{"Get returns ErrNotFound for an unknown id"}},
		{"a replay replaces the content that Get returns", func(s *store) {
			last := make(map[string]string) // content by id
			s.onOutcome(func(b chargeingest.Batch, i int, o *chargeingest.Outcome) { last[o.ID] = b.Events[i].Content })
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				e, err := next(ctx, platform, id)
				e.Content = last[id]
				return e, err
			})
		}, []string{"an event is a replay by its content, not by its digest or JSON layout"}},
		{"empty listings are cached", func(s *store) {
			empty := make(map[string]bool)
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				key := describe(q)
				if empty[key] = empty[key] || len(p.Events) == 0; empty[key] && filtered(q) {
					p.Events, p.Next = nil, ""
				}
			})
		}, []string{"List includes events stored since the same listing was read"}},
		{"Get ignores the case of ids", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				if len(id) > 5 {
					id = strings.ToLower(id[:5]) + strings.ToUpper(id[5:])
				}
				return next(ctx, platform, id)
			})
		}, []string{"Get returns ErrNotFound for an unknown id"}},
	}
}
