package storetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

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
	for _, joint := range joints() {
		s.fresh(keyed("b"+joint+"c", batch("a", draft{number: "1"})))
		s.fresh(keyed("c", batch("a"+joint+"b", draft{number: "2"})))
	}
}

// checkPlatformNames sends one and the same reference and key on every platform,
// and pairs of platform and reference that are the same once they are joined in
// one way or another.
func checkPlatformNames(c *check) {
	s := c.open()
	pairs := [][2]string{{"a", "b_c"}, {"a_b", "c"}, {"a-", "b"}, {"a", "-b"}, {"A", "b_c"}, {"a_", "b_c"}, {"ab", "c"}, {"a", "bc"}, {"a:b", "c"}, {"a\x00b", "c"}}
	for _, name := range names() {
		pairs = append(pairs, [2]string{name, strings.Repeat("x", 255)}) // no key is longer
	}
	var sent []chargeingest.Batch
	var stored [][]chargeingest.Outcome
	for i, pair := range pairs {
		b := keyed(pair[1], batch(pair[0], draft{reference: pair[1], number: fmt.Sprint(i)}, draft{}))
		sent = append(sent, b)
		stored = append(stored, s.fresh(b))
	}
	for i, b := range sent {
		s.replayed(b, stored[i]...)
		b.Events = b.Events[:1]
		s.replayed(keyed("", b), stored[i][0])
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

	// The names that are alike are next to one another.
	const near = 3
	named, all := s.stockNames(), names()
	for i, name := range all {
		e := named[name][0].stored
		c.sameEvent("Get on its own platform", s.get(name, e.ID), e)
		for j := max(0, i-near); j < min(len(all), i+near+1); j++ {
			if j != i {
				c.notFound(s, all[j], e.ID)
			}
		}
	}
}

func (c *check) notFound(s *subject, platform, id string) {
	c.Helper()
	e, err := s.reader.Get(c.Context(), platform, id)
	if !errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Get of %q on platform %s returned the error %v and the event %q, want ErrNotFound", id, platform, err, e.ID)
	}
}

func checkPlatformList(c *check) {
	s := c.openReader()
	for _, platform := range []string{acme, globex} {
		own := s.stock(platform, crowd()...)
		for _, q := range queries(platform) {
			s.selects(own, q)
		}
	}
	for _, q := range queries("unknown") {
		equal(c, "the number of events of a platform without any", len(s.pages(q)), 0)
	}
	named := s.stockNames()
	for _, name := range names() {
		for i, q := range []chargeingest.Query{{}, {CustomerID: name}, {ProductItemID: name}, {CustomerReference: name, From: &time.Time{}}} {
			q.Platform, q.Order = name, orders()[i%2]
			s.selects(named[name], q)
		}
	}
	for _, joint := range joints() {
		mine := s.stock("a"+joint+"b", draft{customerID: "c", customerReference: "c"})
		s.stock("a", draft{customerID: "b" + joint + "c", customerReference: "b" + joint + "c"})
		s.selects(mine, chargeingest.Query{Platform: "a" + joint + "b", CustomerID: "c"})
		s.selects(mine, chargeingest.Query{Platform: "a" + joint + "b", CustomerReference: "c"})
	}
}

// stockNames stores an event on a platform of each name, with the name in all of
// its fields.
func (s *subject) stockNames() map[string][]known {
	s.c.Helper()
	stored := make(map[string][]known)
	for _, name := range names() {
		stored[name] = s.stock(name, draft{
			customerID: name, customerReference: name, subscriptionID: name, subscriptionReference: name, productItemID: name,
		})
	}
	return stored
}

func checkPlatformCursor(c *check) {
	s := c.openReader()
	theirs := make(map[string]bool)
	for range 3 {
		d := shared()
		d.reference = ""
		s.fresh(batch(acme, d, d))
		for _, o := range s.fresh(batch(globex, d)) {
			theirs[o.ID] = true
		}
	}
	for _, q := range queries(globex) {
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
			if err != nil && !errors.Is(err, chargeingest.ErrInvalidCursor) {
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
