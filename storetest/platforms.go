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
		{"platforms do not share references", checkPlatformReferences},
		{"platforms do not share keys", checkPlatformKeys},
		{"platform names are compared in full and case-sensitively", checkPlatformNames},
		{"Get does not find events of another platform", checkPlatformGet},
		{"List does not return events of another platform", checkPlatformList},
		{"a cursor does not expose the events of its platform to another", checkPlatformCursor},
	}
}

func checkPlatformReferences(c *check) {
	s := c.newTestedStore()
	mine := batch(acme, draft{reference: "a", number: "1"})
	theirs := batch(globex, draft{reference: "a", number: "2"})
	first, second := s.appendNew(mine), s.appendNew(theirs)
	s.appendReplays(mine, first...)
	s.appendReplays(theirs, second...)
	s.wantStored(acme, first...)
	s.wantStored(globex, second...)
}

func checkPlatformKeys(c *check) {
	s := c.newTestedStore()
	mine := keyed("key", batch(acme, draft{number: "1"}))
	theirs := keyed("key", batch(globex, draft{number: "2"}, draft{}))
	first, second := s.appendNew(mine), s.appendNew(theirs)
	s.appendReplays(mine, first...)
	s.appendReplays(theirs, second...)
	s.wantStored(acme, first...)
	s.wantStored(globex, second...)
	for _, joint := range separators() {
		s.appendNew(keyed("b"+joint+"c", batch("a", draft{number: "1"})))
		s.appendNew(keyed("c", batch("a"+joint+"b", draft{number: "2"})))
	}
}

// checkPlatformNames includes names that are equal when concatenated.
func checkPlatformNames(c *check) {
	s := c.newTestedStore()
	pairs := [][2]string{{"a", "b_c"}, {"a_b", "c"}, {"a-", "b"}, {"a", "-b"}, {"A", "b_c"}, {"a_", "b_c"}, {"ab", "c"}, {"a", "bc"}, {"a:b", "c"}, {"a\x00b", "c"}}
	for _, name := range names() {
		pairs = append(pairs, [2]string{name, strings.Repeat("x", 255)}) // the longest key
	}
	var sent []chargeingest.Batch
	var stored [][]chargeingest.Outcome
	for i, pair := range pairs {
		b := keyed(pair[1], batch(pair[0], draft{reference: pair[1], number: fmt.Sprint(i)}, draft{}))
		sent = append(sent, b)
		stored = append(stored, s.appendNew(b))
	}
	for i, b := range sent {
		s.appendReplays(b, stored[i]...)
		b.Events = b.Events[:1]
		s.appendReplays(keyed("", b), stored[i][0])
	}
}

func checkPlatformGet(c *check) {
	s := c.newReader()
	mine := s.appendNew(batch(acme, draft{reference: "a"}))
	theirs := s.appendNew(batch(globex, draft{reference: "a"}))
	c.wantNotFound(s, globex, mine[0].ID)
	c.wantNotFound(s, acme, theirs[0].ID)
	c.wantNotFound(s, "unknown", mine[0].ID)
	c.wantEvent("Get on the event's platform", s.get(acme, mine[0].ID), mine[0].StoredEvent)
	c.wantEvent("Get on the event's platform", s.get(globex, theirs[0].ID), theirs[0].StoredEvent)

	// Similar names are neighbors.
	const near = 3
	named, all := s.seedNames(), names()
	for i, name := range all {
		e := named[name][0].stored
		c.wantEvent("Get on the event's platform", s.get(name, e.ID), e)
		for j := max(0, i-near); j < min(len(all), i+near+1); j++ {
			if j != i {
				c.wantNotFound(s, all[j], e.ID)
			}
		}
	}
}

func (c *check) wantNotFound(s *testedStore, platform, id string) {
	c.Helper()
	e, err := s.reader.Get(c.Context(), platform, id)
	if !errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Get of %q on platform %s returned event %q and error %v, want ErrNotFound", id, platform, e.ID, err)
	}
}

func checkPlatformList(c *check) {
	s := c.newReader()
	for _, platform := range []string{acme, globex} {
		own := s.seed(platform, mixedDrafts()...)
		for _, q := range queries(platform) {
			s.wantQuery(own, q)
		}
	}
	for _, q := range queries("unknown") {
		wantEqual(c, "number of events of an unknown platform", len(s.pages(q)), 0)
	}
	named := s.seedNames()
	for _, name := range names() {
		for i, q := range []chargeingest.Query{{}, {CustomerID: name}, {ProductItemID: name}, {CustomerReference: name, From: &time.Time{}}} {
			q.Platform, q.Order = name, orders()[i%2]
			s.wantQuery(named[name], q)
		}
	}
	for _, joint := range separators() {
		mine := s.seed("a"+joint+"b", draft{customerID: "c", customerReference: "c"})
		s.seed("a", draft{customerID: "b" + joint + "c", customerReference: "b" + joint + "c"})
		s.wantQuery(mine, chargeingest.Query{Platform: "a" + joint + "b", CustomerID: "c"})
		s.wantQuery(mine, chargeingest.Query{Platform: "a" + joint + "b", CustomerReference: "c"})
	}
}

func (s *testedStore) seedNames() map[string][]seeded {
	s.c.Helper()
	stored := make(map[string][]seeded)
	for _, name := range names() {
		stored[name] = s.seed(name, draft{
			customerID: name, customerReference: name, subscriptionID: name, subscriptionReference: name, productItemID: name,
		})
	}
	return stored
}

func checkPlatformCursor(c *check) {
	s := c.newReader()
	theirs := make(map[string]bool)
	for range 3 {
		d := matchingDraft()
		d.reference = ""
		s.appendNew(batch(acme, d, d))
		for _, o := range s.appendNew(batch(globex, d)) {
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
			// A store may reject the cursor or accept it as a position.
			page, err := s.reader.List(c.Context(), q)
			if err != nil && !errors.Is(err, chargeingest.ErrInvalidCursor) {
				c.failf("List with a cursor of another platform returned error: %v", err)
			}
			for _, e := range page.Events {
				if theirs[e.ID] {
					c.failf("List on %s with a cursor of %s returned event %s of %s", acme, globex, e.ID, globex)
				}
			}
		}
	}
}
