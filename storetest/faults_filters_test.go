package storetest

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

func filterFaults() []fault {
	every := "each combination of filters returns the events that match all of them"
	bounds := "From and To limit the instant of the timestamp, From inclusive and To exclusive"
	changed := func(name, rule string, change func(*chargeingest.Query)) fault {
		return fault{name, func(s *store) { s.onQuery(change) }, []string{rule}}
	}
	return []fault{
		changed("Reference is ignored", every, func(q *chargeingest.Query) { q.Reference = "" }),
		changed("CustomerID is ignored", every, func(q *chargeingest.Query) { q.CustomerID = "" }),
		changed("CustomerReference is ignored", every, func(q *chargeingest.Query) { q.CustomerReference = "" }),
		changed("PricingPlanSubscriptionID is ignored", every, func(q *chargeingest.Query) { q.PricingPlanSubscriptionID = "" }),
		changed("PricingPlanSubscriptionReference is ignored", every, func(q *chargeingest.Query) { q.PricingPlanSubscriptionReference = "" }),
		changed("ProductItemID is ignored", every, func(q *chargeingest.Query) { q.ProductItemID = "" }),
		{"filters ignore case", ignoreCaseOfFilters, []string{"filters are compared in full and case-sensitively"}},
		changed("MaxBytes is ignored", "a page has at most MaxBytes of content, or one event", func(q *chargeingest.Query) { q.MaxBytes = 0 }),
		{"Limit applies before the filter", limitBeforeFilter, []string{"every page but the last is full, and only the last has an empty Next", every}},
		changed("From is exclusive", bounds, func(q *chargeingest.Query) { q.From = shifted(q.From, 1) }),
		changed("To is inclusive", bounds, func(q *chargeingest.Query) { q.To = shifted(q.To, 1) }),
		changed("timestamps have microseconds", bounds, func(q *chargeingest.Query) {
			for _, bound := range []**time.Time{&q.From, &q.To} {
				if *bound != nil {
					*bound = new((*bound).Truncate(time.Microsecond))
				}
			}
		}),
		changed("timestamps are int64 nanoseconds", bounds, func(q *chargeingest.Query) {
			for _, bound := range []**time.Time{&q.From, &q.To} {
				if *bound != nil {
					*bound = new(time.Unix(0, (*bound).UnixNano()))
				}
			}
		}),
		changed("From is ignored with CustomerID", "every page but the last is full, and only the last has an empty Next", func(q *chargeingest.Query) {
			if q.CustomerID != "" {
				q.From = nil
			}
		}),
		{"filtered listings have no digests", func(s *store) {
			s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
				for i := range p.Events {
					if filtered(q) {
						p.Events[i].Digest = chargeingest.Digest{}
					}
				}
			})
		}, []string{"each combination of filters returns the events that match all of them"}},
		{"timestamps are int64 nanoseconds with CustomerID", func(s *store) {
			s.onQuery(func(q *chargeingest.Query) {
				if q.From != nil && q.CustomerID != "" {
					q.From = new(time.Unix(0, q.From.UnixNano()))
				}
			})
		}, []string{"From and To limit the instant of the timestamp, From inclusive and To exclusive"}},
	}
}

func shifted(t *time.Time, by time.Duration) *time.Time {
	if t == nil {
		return t
	}
	return new(t.Add(by))
}

func ignoreCaseOfFilters(s *store) {
	s.onBatch(func(b *chargeingest.Batch) {
		for i := range b.Events {
			b.Events[i].CustomerID = strings.ToLower(b.Events[i].CustomerID)
		}
	})
	s.onQuery(func(q *chargeingest.Query) { q.CustomerID = strings.ToLower(q.CustomerID) })
}

func limitBeforeFilter(s *store) {
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

func filtered(q chargeingest.Query) bool {
	return q.Reference+q.CustomerID+q.CustomerReference+q.PricingPlanSubscriptionID+q.PricingPlanSubscriptionReference+q.ProductItemID != ""
}
