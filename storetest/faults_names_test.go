package storetest

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"

	"example.com/chargeingest"
)

func nameFaults() []fault {
	const (
		names   = "platform names are compared in full and case-sensitively"
		filters = "filters are compared in full and case-sensitively"
		listed  = "List does not return events of another platform"
	)
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
	// Some collations compare all characters after U+FFFF as equal.
	narrow := func(s string) string {
		return strings.Map(func(r rune) rune { return min(r, 0x10000) }, s)
	}
	unescaped := func(s string) string {
		if text, err := url.QueryUnescape(s); err == nil {
			return text
		}
		return s
	}
	folded := func(s string) string { return strings.ReplaceAll(s, "Ä", "ä") }
	hyphens := func(s string) string { return strings.ReplaceAll(s, "_", "-") }
	nullable := func(s string) string {
		if s == "null" {
			return ""
		}
		return s
	}
	return []fault{
		{"platforms treat all four-byte characters as equal", platforms(narrow), []string{names, listed}},
		{"platforms ignore the case of non-ASCII letters", platforms(folded), []string{names, listed}},
		{"platforms are URL-unescaped", platforms(unescaped), []string{names, listed}},
		{"platforms treat underscores as hyphens", platforms(hyphens), []string{names, listed}},
		{"filters treat all four-byte characters as equal", fields(narrow), []string{filters}},
		{"filters ignore the case of non-ASCII letters", fields(folded), []string{filters}},
		{"filters are URL-unescaped", fields(unescaped), []string{filters}},
		{"filters treat underscores as hyphens", fields(hyphens), []string{filters}},
		{`a filter "null" is ignored`, fields(nullable), []string{filters}},
		{`a reference "null" is ignored`, func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) {
				for i := range b.Events {
					b.Events[i].Reference = nullable(b.Events[i].Reference)
				}
			})
		}, []string{"references are compared in full and case-sensitively"}},
		{`a key "null" is ignored`, func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.IdempotencyKey = nullable(b.IdempotencyKey) })
		}, []string{"keys are compared in full and case-sensitively"}},
		{"keys are URL-unescaped", func(s *store) {
			s.onBatch(func(b *chargeingest.Batch) { b.IdempotencyKey = unescaped(b.IdempotencyKey) })
		}, []string{"keys are compared in full and case-sensitively"}},
		{"platform and key are concatenated", func(s *store) {
			owners := make(map[string]string)
			s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
				joined := b.Platform + "#" + b.IdempotencyKey
				if owner, ok := owners[joined]; ok && owner != b.Platform {
					return chargeingest.AppendResult{}, &chargeingest.ConflictError{IdempotencyKey: true}
				}
				if b.IdempotencyKey != "" {
					owners[joined] = b.Platform
				}
				return next(ctx, b)
			})
		}, []string{"platforms do not share keys"}},
		{"platform and customer are concatenated", func(s *store) {
			var platforms sync.Map
			s.onBatch(func(b *chargeingest.Batch) { platforms.Store(b.Platform, nil) })
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				joined, own := q.Platform+"#"+q.CustomerID, q.Platform
				for other := range platforms.Range {
					customer, ok := strings.CutPrefix(joined, other.(string)+"#")
					if other != own && ok && q.CustomerID != "" {
						others, _ := next(ctx, chargeingest.Query{Platform: other.(string), CustomerID: customer, Limit: q.Limit})
						page.Events = append(page.Events, others.Events...)
					}
				}
				return page, err
			})
		}, []string{listed}},
		{"platforms ignore trailing spaces", platforms(unblanked), []string{names, listed}},
		{"platforms are truncated to 64 characters", platforms(truncateRunes(64)), []string{names, listed}},
		{"platforms are normalized", platforms(composed), []string{names, listed}},
		{"platforms are truncated to 255 characters", platforms(truncateRunes(255)), []string{names, listed}},
		{"platforms are truncated to 255 bytes", platforms(truncateBytes(255)), []string{names, listed}},
		{"Get ignores a trailing space of the platform", func(s *store) {
			s.onGet(func(ctx context.Context, platform, id string, next getFunc) (chargeingest.StoredEvent, error) {
				e, err := next(ctx, platform, id)
				if errors.Is(err, chargeingest.ErrNotFound) && !strings.HasSuffix(platform, " ") {
					return next(ctx, platform+" ", id)
				}
				return e, err
			})
		}, []string{"Get does not find events of another platform"}},
		{"filters are truncated to 64 characters", fields(truncateRunes(64)), []string{filters}},
		{"filters are truncated to 255 bytes", fields(truncateBytes(255)), []string{filters}},
		{"filters ignore soft hyphens", fields(func(s string) string { return strings.ReplaceAll(s, "\u00ad", "") }), []string{filters}},
		{"the filter Reference ignores case", func(s *store) {
			s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
				page, err := next(ctx, q)
				if q.Reference != "" && len(page.Events) == 0 {
					q.Reference = strings.ToLower(q.Reference)
					return next(ctx, q)
				}
				return page, err
			})
		}, []string{filters}},
		{"filtered listings with From include other platforms", func(s *store) {
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

func truncateRunes(n int) func(string) string {
	return func(s string) string {
		runes := []rune(s)
		return string(runes[:min(n, len(runes))])
	}
}

func truncateBytes(n int) func(string) string {
	return func(s string) string { return s[:min(n, len(s))] }
}
