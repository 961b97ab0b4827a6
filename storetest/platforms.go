package storetest

import (
	"errors"

	"example.com/chargeingest"
)

func platformCases() []testCase {
	return []testCase{
		{"a reference of one platform is free on another", checkPlatformReferences},
		{"a key of one platform is free on another", checkPlatformKeys},
		{"names of platforms are compared whole and with their case", checkPlatformNames},
		{"Get finds no event of another platform", checkPlatformGet},
		{"List shows no event of another platform", checkPlatformList},
		{"a cursor of one platform shows nothing of it on another", checkPlatformCursor},
	}
}

func checkPlatformReferences(c *check) {
	s := c.open()
	mine := batch(acme, draft{reference: "a", number: "1"})
	theirs := batch(globex, draft{reference: "a", number: "2"})
	first, second := s.fresh(mine), s.fresh(theirs)
	s.replayed(mine, first...)
	s.replayed(theirs, second...)
	s.holds(acme, first...)
	s.holds(globex, second...)
}

func checkPlatformKeys(c *check) {
	s := c.open()
	mine := keyed("key", batch(acme, draft{number: "1"}))
	theirs := keyed("key", batch(globex, draft{number: "2"}, draft{}))
	first, second := s.fresh(mine), s.fresh(theirs)
	s.replayed(mine, first...)
	s.replayed(theirs, second...)
	s.holds(acme, first...)
	s.holds(globex, second...)
}

// checkPlatformNames has pairs of platform and reference, and of platform and
// key, that are the same once they are joined in one way or another.
func checkPlatformNames(c *check) {
	s := c.open()
	pairs := [][2]string{{"a", "b_c"}, {"a_b", "c"}, {"a-", "b"}, {"a", "-b"}, {"A", "b_c"}, {"a_", "b_c"}, {"ab", "c"}, {"a", "bc"}, {"a:b", "c"}, {"a\x00b", "c"}}
	var sent []chargeingest.Batch
	var stored [][]chargeingest.Outcome
	for _, pair := range pairs {
		for _, b := range []chargeingest.Batch{
			batch(pair[0], draft{reference: pair[1], number: "1"}),
			keyed(pair[1], batch(pair[0], draft{number: "2"})),
		} {
			sent = append(sent, b)
			stored = append(stored, s.fresh(b))
		}
	}
	for i, b := range sent {
		s.replayed(b, stored[i]...)
	}
}

func checkPlatformGet(c *check) {
	s := c.openReader()
	mine := s.fresh(batch(acme, draft{reference: "a"}))
	theirs := s.fresh(batch(globex, draft{reference: "a"}))
	c.notFound(s, globex, mine[0].ID)
	c.notFound(s, acme, theirs[0].ID)
	c.notFound(s, "unknown", mine[0].ID)
	c.sameEvent("Get on its own platform", s.get(acme, mine[0].ID), mine[0].StoredEvent)
	c.sameEvent("Get on its own platform", s.get(globex, theirs[0].ID), theirs[0].StoredEvent)
}

func (c *check) notFound(s *subject, platform, id string) {
	c.Helper()
	e, err := s.reader.Get(c.Context(), platform, id)
	if !errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Get of %q on platform %s returned the error %v and the event %q, want ErrNotFound", id, platform, err, e.ID)
	}
}

// shared is an event that every filter of ownQueries finds.
func shared() draft {
	return draft{
		customerID: "c", customerReference: "cr", subscriptionID: "s", subscriptionReference: "sr",
		productItemID: "p", timestamp: "2026-01-01T00:00:00Z",
	}
}

// ownQueries asks for the events of a platform in each way that there is.
func ownQueries(platform string) []chargeingest.Query {
	d := shared().event()
	return []chargeingest.Query{
		{Platform: platform},
		{Platform: platform, Order: chargeingest.Ascending},
		{Platform: platform, Reference: "a"},
		{Platform: platform, CustomerID: d.CustomerID},
		{Platform: platform, CustomerReference: d.CustomerReference},
		{Platform: platform, PricingPlanSubscriptionID: d.PricingPlanSubscriptionID},
		{Platform: platform, PricingPlanSubscriptionReference: d.PricingPlanSubscriptionReference},
		{Platform: platform, ProductItemID: d.ProductItemID},
		{Platform: platform, From: &d.Timestamp},
		{Platform: platform, To: new(d.Timestamp.AddDate(1, 0, 0))},
	}
}

func checkPlatformList(c *check) {
	s := c.openReader()
	d := shared()
	d.reference = "a"
	for _, platform := range []string{acme, globex} {
		own := outcomeIDs(s.fresh(batch(platform, d)))
		for _, q := range ownQueries(platform) {
			equalList(c, "the ids of "+describe(q), ids(s.pages(q)), own)
		}
	}
	for _, q := range ownQueries("unknown") {
		equal(c, "the number of events of a platform without any", len(s.pages(q)), 0)
	}
}

func checkPlatformCursor(c *check) {
	s := c.openReader()
	theirs := make(map[string]bool)
	for range 5 {
		s.fresh(batch(acme, shared(), shared()))
		for _, o := range s.fresh(batch(globex, shared())) {
			theirs[o.ID] = true
		}
	}
	for _, q := range ownQueries(globex) {
		q.Limit = 2
		page := s.list(q)
		for _, q.After = range []string{page.Next, page.Position} {
			if q.After == "" {
				continue
			}
			q.Platform = acme
			// A store may know the cursor for a stranger's, or take it for a
			// place in the order.
			page, err := s.reader.List(c.Context(), q)
			if err != nil && !errors.Is(err, chargeingest.ErrBadCursor) {
				c.failf("List with a cursor of another platform returned the error %v", err)
			}
			for _, e := range page.Events {
				if theirs[e.ID] {
					c.failf("List on %s with a cursor of %s shows %s, which is the latter's", acme, globex, e.ID)
				}
			}
		}
	}
}
