package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"example.com/chargeingest"
)

func nameFaults() []fault {
	const (
		names   = "names of platforms are compared whole and with their case"
		filters = "filters compare whole values with their case"
		listed  = "List shows no event of another platform"
	)
	// These change names in batches and queries alike.
	platforms := func(change func(string) string) func(*store) {
		return func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.Platform = change(b.Platform) })
			s.onQuery(func(q *chargeingest.Query) { q.Platform = change(q.Platform) })
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				return next(ctx, change(platform), id)
			})
		}
	}
	fields := func(change func(string) string) func(*store) {
		return func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					e := &b.Events[i]
					for _, field := range []*string{
						&e.CustomerID, &e.CustomerReference, &e.PricingPlanSubscriptionID, &e.PricingPlanSubscriptionReference, &e.ProductItemID,
					} {
						*field = change(*field)
					}
				}
			})
			s.onQuery(func(q *chargeingest.Query) {
				for _, field := range []*string{
					&q.CustomerID, &q.CustomerReference, &q.PricingPlanSubscriptionID, &q.PricingPlanSubscriptionReference, &q.ProductItemID,
				} {
					*field = change(*field)
				}
			})
		}
	}
	unblanked := func(s string) string { return strings.TrimRight(s, " ") }
	composed := func(s string) string { return strings.ReplaceAll(s, "a\u0308", "ä") }
	return []fault{
		{"platforms are compared without trailing blanks", platforms(unblanked), []string{names, listed}},
		{"platforms are cut at 64 characters", platforms(cutRunes(64)), []string{names, listed}},
		{"platforms are normalised", platforms(composed), []string{names, listed}},
		{"platforms are cut at 255 characters", platforms(cutRunes(255)), []string{names, listed}},
		{"platforms are cut at 255 bytes", platforms(cutBytes(255)), []string{names, listed}},
		{"Get compares platforms without trailing blanks", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				e, err := next(ctx, platform, id)
				if errors.Is(err, chargeingest.ErrNotFound) && !strings.HasSuffix(platform, " ") {
					return next(ctx, platform+" ", id)
				}
				return e, err
			})
		}, []string{"Get finds no event of another platform"}},
		{"filters are cut at 64 characters", fields(cutRunes(64)), []string{filters}},
		{"filters are cut at 255 bytes", fields(cutBytes(255)), []string{filters}},
		{"filters ignore what cannot be seen", fields(func(s string) string { return strings.ReplaceAll(s, "\u00ad", "") }), []string{filters}},
		{"the filter by Reference folds its case", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if q.Reference != "" && len(page.Events) == 0 {
					q.Reference = strings.ToLower(q.Reference)
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{filters}},
		{"filters by time in a filtered listing cross platforms", func(s *store) {
			var platforms sync.Map
			s.onBatch(func(b *chargeingest.Batch) { platforms.Store(b.Platform, nil) })
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				for other := range platforms.Range {
					if own := q.Platform; other != own && q.From != nil && filtered(q) {
						q.Platform = other.(string)
						others, _ := next(ctx, q)
						page.Events = append(page.Events, others.Events...)
						q.Platform = own
					}
				}
				return page, err
			})
		}, []string{listed}},
	}
}

func cutRunes(n int) func(string) string {
	return func(s string) string {
		runes := []rune(s)
		return string(runes[:min(n, len(runes))])
	}
}

func cutBytes(n int) func(string) string {
	return func(s string) string { return s[:min(n, len(s))] }
}
