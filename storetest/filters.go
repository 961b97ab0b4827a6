package storetest

import (
	"fmt"
	"time"

	"example.com/chargeingest"
)

func filterCases() []testCase {
	return []testCase{
		{"each combination of filters returns the events that match all of them", checkFilters},
		{"filters are compared in full and case-sensitively", checkFiltersExact},
		{"From and To limit the instant of the timestamp, From inclusive and To exclusive", checkTimeBounds},
	}
}

func variedDrafts() []draft {
	var drafts []draft
	for i := range 60 {
		// Coprime steps let the fields vary independently.
		pick := func(step int, values ...string) string { return values[i/step%len(values)] }
		drafts = append(drafts, draft{
			customerID:            pick(1, "c1", "c2", ""),
			customerReference:     pick(2, "r1", "r2", "", "c1"),
			subscriptionID:        pick(3, "s1", ""),
			subscriptionReference: pick(5, "t1", "t2"),
			productItemID:         pick(7, "p1", "p2", "p3"),
			timestamp:             received().AddDate(0, 0, i*7%10).Format(time.RFC3339Nano),
		})
		if i%2 == 0 {
			drafts[i].reference = fmt.Sprintf("ref-%d", i)
		}
	}
	return drafts
}

func checkFilters(c *check) {
	s := c.newReader()
	events := s.seed(acme, variedDrafts()...)
	s.seed(globex, variedDrafts()...)
	for combination := range 1 << 6 {
		for _, model := range []seeded{events[0], events[combination%60], events[59-combination%7]} {
			filter := func(bit int, value string) string {
				if combination>>bit&1 == 0 {
					return ""
				}
				return value
			}
			s.wantQuery(events, chargeingest.Query{
				Platform:                         acme,
				Reference:                        filter(0, model.sent.Reference),
				CustomerID:                       filter(1, model.sent.CustomerID),
				CustomerReference:                filter(2, model.sent.CustomerReference),
				PricingPlanSubscriptionID:        filter(3, model.sent.PricingPlanSubscriptionID),
				PricingPlanSubscriptionReference: filter(4, model.sent.PricingPlanSubscriptionReference),
				ProductItemID:                    filter(5, model.sent.ProductItemID),
				Order:                            chargeingest.Order(combination % 2),
			})
		}
	}
	for _, unmatched := range []chargeingest.Query{
		{Platform: acme, Reference: "c1"},
		{Platform: acme, CustomerID: "r1"},
		{Platform: acme, CustomerReference: "r3"},
		{Platform: acme, PricingPlanSubscriptionID: "t1"},
		{Platform: acme, PricingPlanSubscriptionReference: "s1"},
		{Platform: acme, ProductItemID: "p"},
		{Platform: acme, Reference: events[0].sent.Reference, CustomerID: "c2"},
	} {
		s.wantQuery(events, unmatched)
	}
}

func checkFiltersExact(c *check) {
	s := c.newReader()
	var drafts []draft
	for _, v := range names() {
		drafts = append(drafts, draft{customerID: v, customerReference: v, subscriptionID: v, subscriptionReference: v, productItemID: v})
	}
	for _, v := range references() {
		drafts = append(drafts, draft{reference: v})
	}
	events := s.seed(acme, drafts...)
	for _, v := range append(names(), "Ab", "ab  ", "b") {
		for i, q := range []chargeingest.Query{
			{CustomerID: v},
			{CustomerReference: v},
			{PricingPlanSubscriptionID: v},
			{PricingPlanSubscriptionReference: v},
			{ProductItemID: v},
		} {
			q.Platform, q.Order = acme, orders()[i%2]
			s.wantQuery(events, q)
		}
	}
	for _, v := range append(references(), "Ab", "b") {
		s.wantQuery(events, chargeingest.Query{Platform: acme, Reference: v})
	}
}

// instants returns timestamps at the limits of the contract and of common types.
func instants() []string {
	return []string{
		"0001-01-01T00:00:00+14:00",
		"0001-01-01T00:00:00Z",
		"0001-01-01T00:00:00.000000001Z",
		"1582-10-10T00:00:00Z",
		"1677-09-21T00:12:43.145224191Z",
		"1969-12-31T23:59:59.999999999Z",
		"1970-01-01T00:00:00Z",
		"2026-03-01T12:00:00Z",
		"2026-03-01T12:00:00.000000001Z",
		"2026-03-01t14:00:00.000000002+02:00",
		"2026-03-01T12:00:00.1Z",
		"2026-03-01T12:00:01Z",
		"2038-01-19T03:14:08Z",
		"2262-04-11T23:47:16.854775808Z",
		"9999-12-31T23:59:59Z",
		"9999-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:59.999999999-12:00",
	}
}

func datedDrafts() []draft {
	all := instants()
	var drafts []draft
	for i := range all {
		drafts = append(drafts, draft{timestamp: all[i*5%len(all)], customerID: "c", customerReference: "cr"})
	}
	return drafts
}

func checkTimeBounds(c *check) {
	s := c.newReader()
	events := s.seed(acme, datedDrafts()...)
	s.seed(globex, datedDrafts()...)
	bounds := []*time.Time{nil}
	for _, e := range events {
		bounds = append(bounds, &e.sent.Timestamp)
	}
	for i, from := range bounds {
		for j, to := range bounds {
			if to != nil {
				to = new(to.In(time.FixedZone("", -3600)))
			}
			// These filters match every event.
			q := []chargeingest.Query{{}, {CustomerID: "c"}, {CustomerReference: "cr"}}[(i+j)%3]
			q.Platform, q.From, q.To, q.Order = acme, from, to, orders()[(i+j)%2]
			s.wantQuery(events, q)
		}
	}
}
