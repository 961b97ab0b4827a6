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
			"a reference of one platform is free on another",
			"a key of one platform is free on another",
			"Get finds no event of another platform",
			"List shows no event of another platform",
			"a cursor of one platform shows nothing of it on another",
		}},
		{"platform and reference are joined", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = b.Platform + "_" + b.Events[i].Reference
				}
				b.Platform = "all"
			})
		}, []string{"names of platforms are compared whole and with their case"}},
		{"platforms fold their case", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Platform = strings.ToLower(b.Platform) })
		}, []string{"names of platforms are compared whole and with their case"}},
		{"a cursor brings its platform along", func(s *store) {
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
		}, []string{"a cursor of one platform shows nothing of it on another"}},
	}
}

func readingFaults() []fault {
	return []fault{
		{"Get cuts content", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				e.Content = e.Content[:len(e.Content)/2]
				return e, err
			}
		}, []string{"Get returns each event as it was answered when it was stored"}},
		{"what is not found is an empty event", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				if errors.Is(err, chargeingest.ErrNotFound) {
					err = nil
				}
				return e, err
			}
		}, []string{"Get of an id that is not there is ErrNotFound", "Get finds no event of another platform"}},
		{"every failure of Get is ErrNotFound", func(s *store) {
			get := s.get
			s.get = func(ctx context.Context, platform, id string) (chargeingest.StoredEvent, error) {
				e, err := get(ctx, platform, id)
				if err != nil {
					err = chargeingest.ErrNotFound
				}
				return e, err
			}
		}, []string{"a reading call whose context has ended returns an error or the truth"}},
		{"orders are exchanged", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) { q.Order = chargeingest.Ascending - q.Order })
		}, []string{"List returns what is stored in the order of storing, last stored first by default"}},
		{"replays are stored, too", func(s *store) {
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				receipt, err := next(ctx, b)
				if err == nil && receipt.Outcomes[0].Replayed {
					again := keyed("", b)
					again.Events[0].Reference = ""
					_, err = next(ctx, again)
				}
				return receipt, err
			})
		}, []string{"replays and conflicts add nothing to a listing", "the same event sent again is answered with the original"}},
		{"filtered pages share what is kept", func(s *store) {
			kept := make(map[string][]chargeingest.StoredEvent)
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				key := describe(q)
				if filtered(q) && len(kept[key]) == len(p.Events) {
					p.Events = kept[key]
				}
				kept[key] = p.Events
			})
		}, []string{"the events of a page are the caller's to change"}},
		{"a filtered listing whose context has ended is empty", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if ctx.Err() != nil && filtered(q) {
					return chargeingest.Page{}, nil
				}
				return next(ctx, q)
			})
		}, []string{"a reading call whose context has ended returns an error or the truth"}},
		{"Get takes O for 0 and I for 1", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				return next(ctx, platform, strings.NewReplacer("O", "0", "I", "1").Replace(id))
			})
		}, []string{"Get of an id that is not there is ErrNotFound"}},
		{"a replay rewrites what Get returns", func(s *store) {
			last := make(map[string]string) // content by id
			s.onOutcome(func(b chargeingest.Batch, i int, o *chargeingest.Outcome) { last[o.ID] = b.Events[i].Content })
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				e, err := next(ctx, platform, id)
				e.Content = last[id]
				return e, err
			})
		}, []string{"content decides and not the digest or the layout"}},
		{"a listing without events is remembered", func(s *store) {
			empty := make(map[string]bool)
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				key := describe(q)
				if empty[key] = empty[key] || len(p.Events) == 0; empty[key] && filtered(q) {
					p.Events, p.Next = nil, ""
				}
			})
		}, []string{"List sees what was stored after the same listing was read"}},
		{"Get folds the case of ids", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				if len(id) > 5 {
					id = strings.ToLower(id[:5]) + strings.ToUpper(id[5:])
				}
				return next(ctx, platform, id)
			})
		}, []string{"Get of an id that is not there is ErrNotFound"}},
	}
}
