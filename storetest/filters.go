package storetest

import (
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
)

func filterCases() []testCase {
	return []testCase{
		{"each filter and each combination of filters selects what has all of its values", checkFilters},
		{"filters compare whole values with their case", checkFiltersExact},
		{"filtered listings are paged like whole ones", checkFilterPages},
		{"From and To bound the instant of the timestamp, From included and To not", checkTimeBounds},
		{"From and To combine with filters and pages", checkTimeBoundsCombined},
	}
}

// known is an event that was stored, for the cases to compute what a query must
// select.
type known struct {
	id string
	chargeingest.NewEvent
}

// stock stores drafts one after the other and returns them in their order.
func (s *subject) stock(platform string, drafts []draft) []known {
	s.c.Helper()
	b := batch(platform, drafts...)
	var events []known
	for i, o := range s.fresh(b) {
		events = append(events, known{o.ID, b.Events[i]})
	}
	return events
}

// variety is events with many combinations of values, null among them.
func variety() []draft {
	var drafts []draft
	for i := range 60 {
		// Steps without a common divisor, so that the fields vary apart.
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

// selected are the ids that a query must return.
func selected(events []known, q chargeingest.Query) []string {
	want := []string{}
	for _, e := range events {
		if (q.Reference == "" || q.Reference == e.Reference) &&
			(q.CustomerID == "" || q.CustomerID == e.CustomerID) &&
			(q.CustomerReference == "" || q.CustomerReference == e.CustomerReference) &&
			(q.PricingPlanSubscriptionID == "" || q.PricingPlanSubscriptionID == e.PricingPlanSubscriptionID) &&
			(q.PricingPlanSubscriptionReference == "" || q.PricingPlanSubscriptionReference == e.PricingPlanSubscriptionReference) &&
			(q.ProductItemID == "" || q.ProductItemID == e.ProductItemID) &&
			(q.From == nil || !e.Timestamp.Before(*q.From)) &&
			(q.To == nil || e.Timestamp.Before(*q.To)) {
			want = append(want, e.id)
		}
	}
	if q.Order == chargeingest.Descending {
		slices.Reverse(want)
	}
	return want
}

// selects checks a query against what it must return.
func (s *subject) selects(events []known, q chargeingest.Query) {
	s.c.Helper()
	equalList(s.c, "the ids of "+describe(q), ids(s.pages(q)), selected(events, q))
}

func checkFilters(c *check) {
	s := c.openReader()
	events := s.stock(acme, variety())
	s.stock(globex, variety())
	// Each query has the values of an event in the filters of one combination.
	for combination := range 1 << 6 {
		for _, model := range []known{events[0], events[combination%60], events[59-combination%7]} {
			filter := func(bit int, value string) string {
				if combination>>bit&1 == 0 {
					return ""
				}
				return value
			}
			s.selects(events, chargeingest.Query{
				Platform:                         acme,
				Reference:                        filter(0, model.Reference),
				CustomerID:                       filter(1, model.CustomerID),
				CustomerReference:                filter(2, model.CustomerReference),
				PricingPlanSubscriptionID:        filter(3, model.PricingPlanSubscriptionID),
				PricingPlanSubscriptionReference: filter(4, model.PricingPlanSubscriptionReference),
				ProductItemID:                    filter(5, model.ProductItemID),
				Order:                            chargeingest.Order(combination % 2),
			})
		}
	}
	for _, nothing := range []chargeingest.Query{
		{Platform: acme, Reference: "c1"},
		{Platform: acme, CustomerID: "r1"},
		{Platform: acme, CustomerReference: "r3"},
		{Platform: acme, PricingPlanSubscriptionID: "t1"},
		{Platform: acme, PricingPlanSubscriptionReference: "s1"},
		{Platform: acme, ProductItemID: "p"},
		{Platform: acme, Reference: events[0].Reference, CustomerID: "c2"},
	} {
		s.selects(events, nothing)
	}
}

func checkFiltersExact(c *check) {
	s := c.openReader()
	values := []string{"ab", "AB", "a", "ab ", " ab", "a_", "a%", "_b", "%", "äb", "a\u0308b", "'ab'", "ab|cd", "0", "00"}
	var drafts []draft
	for _, v := range values {
		drafts = append(drafts, draft{customerID: v, customerReference: v, subscriptionID: v, subscriptionReference: v, productItemID: v})
	}
	events := s.stock(acme, drafts)
	for _, v := range values {
		for _, q := range []chargeingest.Query{
			{Platform: acme, CustomerID: v},
			{Platform: acme, CustomerReference: v},
			{Platform: acme, PricingPlanSubscriptionID: v},
			{Platform: acme, PricingPlanSubscriptionReference: v},
			{Platform: acme, ProductItemID: v},
		} {
			s.selects(events, q)
		}
	}
}

func checkFilterPages(c *check) {
	s := c.openReader()
	events := s.stock(acme, variety())
	s.stock(globex, variety())
	for _, q := range []chargeingest.Query{
		{CustomerID: "c1", ProductItemID: "p1"},
		{CustomerReference: "r2", CustomerID: "c2"},
		{PricingPlanSubscriptionReference: "t2", PricingPlanSubscriptionID: "s1"},
		{ProductItemID: "p3"},
		{Reference: events[4].Reference},
	} {
		q.Platform = acme
		for _, q.Order = range []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending} {
			s.pageBy(q, selected(events, q))
		}
	}
}

// instants are timestamps around the edges of what is allowed and of what a
// store may be tempted to keep them in. As instants, the first and the last
// lie in the years 0 and 10000.
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

// dated returns an event per instant, out of their order.
func dated() []draft {
	all := instants()
	var drafts []draft
	for i := range all {
		drafts = append(drafts, draft{timestamp: all[i*5%len(all)], customerID: "c", productItemID: []string{"p", "q"}[i%2]})
	}
	return drafts
}

func checkTimeBounds(c *check) {
	s := c.openReader()
	events := s.stock(acme, dated())
	s.stock(globex, dated())
	bounds := []*time.Time{nil} // open
	for _, e := range events {
		bounds = append(bounds, &e.Timestamp)
	}
	for _, from := range bounds {
		for _, to := range bounds {
			// In another zone it is the same instant still.
			if to != nil {
				to = new(to.In(time.FixedZone("", -3600)))
			}
			s.selects(events, chargeingest.Query{Platform: acme, From: from, To: to})
		}
	}
}

func checkTimeBoundsCombined(c *check) {
	s := c.openReader()
	events := s.stock(acme, dated())
	from, to := new(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)), new(received())
	for _, q := range []chargeingest.Query{
		{From: from},
		{To: from},
		{From: from, To: to},
		{From: from, CustomerID: "c"},
		{To: to, ProductItemID: "p"},
		{From: from, To: to, ProductItemID: "q", CustomerID: "c"},
		{From: from, CustomerID: "d"},
	} {
		q.Platform = acme
		for _, q.Order = range []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending} {
			s.pageBy(q, selected(events, q))
		}
	}
}
