package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
)

func pagingFaults() []fault {
	const (
		maxBytes  = "a page has at most MaxBytes of content, or one event"
		positions = "every ascending page has a Position and no descending page has one"
		continues = "Position leads to the events stored later and to no others"
		pages     = "every page but the last is full, and only the last has an empty Next"
		again     = "a cursor can be reused, also with a different Limit"
		malformed = "List returns ErrInvalidCursor for a malformed cursor"
	)
	return []fault{
		{"every full page has a Next", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) == q.Limit && p.Next == "" {
					p.Next = p.Position
				}
			})
		}, []string{pages}},
		{"empty pages have no Position", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) == 0 {
					p.Position = ""
				}
			})
		}, []string{
			positions,
			continues,
		}},
		{"descending pages have a Position", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				if p.Position == "" {
					p.Position = "0"
				}
			})
		}, []string{positions}},
		{"Position is the end of the listing", positionAtEnd, []string{continues}},
		{"a cursor can be used once", func(s *store) {
			spent := make(map[string]bool)
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if spent[q.After] {
					return chargeingest.Page{}, chargeingest.ErrInvalidCursor
				}
				spent[q.After] = q.After != ""
				return next(ctx, q)
			})
		}, []string{again}},
		{"cursors contain characters that are not URL-safe", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Position += "+/=" })
		}, []string{"cursors have 1 to 256 URL-safe characters"}},
		{"cursors have 300 characters", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				p.Position += strings.Repeat("A", 300-len(p.Position))
			})
		}, []string{"cursors have 1 to 256 URL-safe characters"}},
		{"a malformed cursor means the start", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if errors.Is(err, chargeingest.ErrInvalidCursor) {
					q.After = ""
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{malformed}},
		{"a descending page that MaxBytes limits has no Next", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if q.Order == chargeingest.Descending && q.MaxBytes > 0 && len(p.Events) < q.Limit {
					p.Next = ""
				}
			})
		}, []string{maxBytes}},
		{"descending pages ignore MaxBytes", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) {
				if q.Order == chargeingest.Descending {
					q.MaxBytes = 0
				}
			})
		}, []string{maxBytes}},
		{"filtered pages ignore MaxBytes", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) {
				if filtered(*q) {
					q.MaxBytes = 0
				}
			})
		}, []string{maxBytes}},
		{"cursors wrap around at 1,024", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) {
				if after, err := cursor.Decode(q.After); err == nil {
					q.After = cursor.Encode(after % 1024)
				}
			})
		}, []string{"a batch of thousands of events and several MiB is atomic and keeps earlier records"}},
		{"Limit + 1 overflows", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if q.Limit+1 < 0 {
					return chargeingest.Page{}, errors.New("LIMIT must not be negative")
				}
				return next(ctx, q)
			})
		}, []string{pages}},
		{"MaxBytes counts characters", limitBySize(func(content string) int { return len([]rune(content)) }), []string{maxBytes}},
		{"MaxBytes does not count white space", limitBySize(func(content string) int {
			return len(strings.Join(strings.Fields(content), ""))
		}), []string{maxBytes}},
		{"ascending pages with Reference have no Position", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if q.Reference != "" {
					p.Position = ""
				}
			})
		}, []string{positions, continues}},
		{"descending pages with time bounds have a Position", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if q.From != nil || q.To != nil {
					p.Position += p.Next
				}
			})
		}, []string{positions}},
		{"Position of a page with From is the end of the listing", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if page.Position != "" && q.From != nil {
					q.Limit = 100_000
					var all chargeingest.Page
					all, err = next(ctx, q)
					page.Position = all.Position
				}
				return page, err
			})
		}, []string{continues}},
		{"a full last page with CustomerReference and To has a Next", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) == q.Limit && q.To != nil && q.CustomerReference != "" && p.Next == "" {
					p.Next = p.Position
				}
			})
		}, []string{pages}},
		{"To applies only to the first page", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) {
				if q.After != "" && q.PricingPlanSubscriptionID != "" {
					q.To = nil
				}
			})
		}, []string{pages}},
		{"a malformed cursor means the start of a filtered listing", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if errors.Is(err, chargeingest.ErrInvalidCursor) && filtered(q) {
					q.After = ""
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{malformed}},
		{"a cursor beyond an empty platform means its start", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				all, _ := next(ctx, chargeingest.Query{Platform: q.Platform, Limit: 1})
				if errors.Is(err, chargeingest.ErrInvalidCursor) && len(all.Events) == 0 {
					q.After = ""
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{"List returns ErrInvalidCursor for a cursor beyond the stored events"}},
		{"filtered listings are ordered by time of receipt", func(s *store) {
			var received sync.Map // by id
			s.onOutcome(func(b chargeingest.Batch, i int, o *chargeingest.Outcome) {
				received.LoadOrStore(o.ID, b.Events[i].ReceivedAt)
			})
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if !filtered(q) {
					return
				}
				slices.SortStableFunc(p.Events, func(a, b chargeingest.StoredEvent) int {
					first, _ := received.Load(a.ID)
					second, _ := received.Load(b.ID)
					return first.(time.Time).Compare(second.(time.Time))
				})
			})
		}, []string{pages}},
		{"a cursor beyond the stored events is accepted", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if after, decodeErr := cursor.Decode(q.After); errors.Is(err, chargeingest.ErrInvalidCursor) && decodeErr == nil && after > 0 {
					return chargeingest.Page{Position: q.After}, nil
				}
				return page, err
			})
		}, []string{"List returns ErrInvalidCursor for a cursor beyond the stored events"}},
	}
}

func positionAtEnd(s *store) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		page, err := next(ctx, q)
		if page.Position != "" {
			q.Limit = 100_000
			var all chargeingest.Page
			all, err = next(ctx, q)
			page.Position = all.Position
		}
		return page, err
	})
}

func limitBySize(size func(content string) int) func(*store) {
	return func(s *store) {
		s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
			if q.MaxBytes == 0 {
				return next(ctx, q)
			}
			maxEvents, maxBytes := q.Limit, q.MaxBytes
			q.MaxBytes = 0
			var page chargeingest.Page
			for q.Limit = 1; q.Limit <= maxEvents; q.Limit++ {
				longer, err := next(ctx, q)
				if err != nil {
					return longer, err
				}
				total := 0
				for _, e := range longer.Events {
					total += size(e.Content)
				}
				if total > maxBytes && q.Limit > 1 {
					break
				}
				page = longer
				if longer.Next == "" {
					break
				}
			}
			return page, nil
		})
	}
}
