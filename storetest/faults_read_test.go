package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

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
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.Receipt, error) {
				receipt, err := next(ctx, b)
				if err == nil && receipt.Outcomes[0].Replayed {
					again := keyed("", b)
					again.Events[0].Reference = ""
					_, err = next(ctx, again)
				}
				return receipt, err
			})
		}, []string{"replays and conflicts add nothing to a listing", "the same event sent again is answered with the original"}},
	}
}

func pagingFaults() []fault {
	return []fault{
		{"Next is given with every full page", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) == q.Limit && p.Next == "" {
					p.Next = p.Position
				}
			})
		}, []string{"pages are full up to the last and Next is empty where nothing more is there"}},
		{"empty pages have no Position", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				if len(p.Events) == 0 {
					p.Position = ""
				}
			})
		}, []string{
			"an ascending page always has a Position and a descending one never",
			"Position leads to what is stored later and to nothing else",
		}},
		{"descending pages have a Position", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) {
				if p.Position == "" {
					p.Position = "0"
				}
			})
		}, []string{"an ascending page always has a Position and a descending one never"}},
		{"Position is the end of what is stored", positionAtEnd, []string{"Position of a full page continues behind its last event"}},
		{"a cursor is spent by its use", func(s *store) {
			spent := make(map[string]bool)
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				if spent[q.After] {
					return chargeingest.Page{}, chargeingest.ErrBadCursor
				}
				spent[q.After] = q.After != ""
				return next(ctx, q)
			})
		}, []string{"a cursor can be used again"}},
		{"cursors are of any characters", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Position += "+/=" })
		}, []string{"cursors are of URL-safe characters"}},
		{"a malformed cursor is the start", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if errors.Is(err, chargeingest.ErrBadCursor) {
					q.After = ""
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{"a cursor that is malformed is ErrBadCursor"}},
	}
}

// positionAtEnd gives every ascending page the Position of the whole listing.
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

func followingFaults() []fault {
	return []fault{
		{"a page loses its last event", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Events = p.Events[:max(0, len(p.Events)-1)] })
		}, []string{
			"pages are full up to the last and Next is empty where nothing more is there",
			"who follows Position while others append sees each event once and in order",
			"who pages by Next and goes on from Position sees each event once and in order",
			"who follows a filter sees each of its events once and in order",
			"who pages down while others append sees each event that was there once and in order",
		}},
		{"Position passes an event that is committed later", commitLate, []string{
			"who follows Position while others append sees each event once and in order",
			"who pages by Next and goes on from Position sees each event once and in order",
			"who follows a filter sees each of its events once and in order",
		}},
		{"Position does not move", standStill, []string{
			"who follows Position while others append sees each event once and in order",
			"Position leads to what is stored later and to nothing else",
		}},
	}
}

// standStill gives each listing the Position that its first page had.
func standStill(s *store) {
	first := make(map[string]string) // by customer
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		if q.Order != chargeingest.Ascending {
			return
		}
		if _, ok := first[q.CustomerID]; !ok {
			first[q.CustomerID] = p.Position
		}
		p.Position = first[q.CustomerID]
	})
}

// commitLate shows the first event of a platform only once a cursor has passed
// it, as a store does that numbers events before it commits them.
func commitLate(s *store) {
	var mu sync.Mutex
	late := make(map[string]string) // platform → id
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		mu.Lock()
		defer mu.Unlock()
		if len(p.Events) > 0 && late[q.Platform] == "" {
			late[q.Platform] = p.Events[0].ID
			p.Events = p.Events[1:]
		}
	})
}

func filterFaults() []fault {
	every := "each filter and each combination of filters selects what has all of its values"
	bounds := "From and To bound the instant of the timestamp, From included and To not"
	changed := func(name, rule string, change func(*chargeingest.Query)) fault {
		return fault{name, func(s *store) { s.onQuery(change) }, []string{rule}}
	}
	return []fault{
		changed("Reference does not filter", every, func(q *chargeingest.Query) { q.Reference = "" }),
		changed("CustomerID does not filter", every, func(q *chargeingest.Query) { q.CustomerID = "" }),
		changed("CustomerReference does not filter", every, func(q *chargeingest.Query) { q.CustomerReference = "" }),
		changed("PricingPlanSubscriptionID does not filter", every, func(q *chargeingest.Query) { q.PricingPlanSubscriptionID = "" }),
		changed("PricingPlanSubscriptionReference does not filter", every, func(q *chargeingest.Query) { q.PricingPlanSubscriptionReference = "" }),
		changed("ProductItemID does not filter", every, func(q *chargeingest.Query) { q.ProductItemID = "" }),
		{"filters fold their case", foldFilters, []string{"filters compare whole values with their case"}},
		changed("MaxBytes does not bound", "a page has no more content than MaxBytes, or one event", func(q *chargeingest.Query) { q.MaxBytes = 0 }),
		{"a page is cut before it is filtered", cutBeforeFilter, []string{"filtered listings are paged like whole ones", every}},
		changed("From is not included", bounds, func(q *chargeingest.Query) { q.From = moved(q.From, 1) }),
		changed("To is included", bounds, func(q *chargeingest.Query) { q.To = moved(q.To, 1) }),
		changed("instants are kept to the microsecond", bounds, func(q *chargeingest.Query) {
			for _, bound := range []**time.Time{&q.From, &q.To} {
				if *bound != nil {
					*bound = new((*bound).Truncate(time.Microsecond))
				}
			}
		}),
		changed("instants are kept in int64 nanoseconds", bounds, func(q *chargeingest.Query) {
			for _, bound := range []**time.Time{&q.From, &q.To} {
				if *bound != nil {
					*bound = new(time.Unix(0, (*bound).UnixNano()))
				}
			}
		}),
		changed("From counts only without a filter", "From and To combine with filters and pages", func(q *chargeingest.Query) {
			if q.CustomerID != "" {
				q.From = nil
			}
		}),
	}
}

// moved shifts a bound that is not open.
func moved(t *time.Time, by time.Duration) *time.Time {
	if t == nil {
		return t
	}
	return new(t.Add(by))
}

// foldFilters finds what differs from the filter in case only.
func foldFilters(s *store) {
	s.onBatch(func(b *chargeingest.Batch) {
		for i := range b.Events {
			b.Events[i].CustomerID = strings.ToLower(b.Events[i].CustomerID)
		}
	})
	s.onQuery(func(q *chargeingest.Query) { q.CustomerID = strings.ToLower(q.CustomerID) })
}

// cutBeforeFilter reads a page of everything and filters what is on it.
func cutBeforeFilter(s *store) {
	s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
		page, err := next(ctx, chargeingest.Query{Platform: q.Platform, After: q.After, Order: q.Order, Limit: min(q.Limit, 20)})
		if err != nil {
			return page, err
		}
		q.After, q.Limit = "", 100_000
		wanted, err := next(ctx, q)
		page.Events = slices.DeleteFunc(page.Events, func(e chargeingest.StoredEvent) bool {
			return !slices.Contains(ids(wanted.Events), e.ID)
		})
		return page, err
	})
}
