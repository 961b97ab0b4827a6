package storetest

import (
	"fmt"
	"slices"
	"strings"

	"example.com/chargeingest"
)

func keyCases() []testCase {
	return []testCase{
		{"a key sent again with its request is answered with the originals in their order", checkKeyReplay},
		{"a key protects events that have references, too", checkKeyWithReferences},
		{"a key is bound to content and not to a digest", checkKeyContentDecides},
		{"a key with other content is a conflict of the key", checkKeyOtherContent},
		{"a key with another number of events is a conflict of the key", checkKeyOtherCount},
		{"a key with its events in another order is a conflict of the key", checkKeyOtherOrder},
		{"a key on another route is a conflict of the key", checkKeyOtherRoute},
		{"a key is checked before the references", checkKeyFirst},
		{"ReturnOriginal is about references and not about keys", checkKeyAcceptAll},
		{"a key is for what was sent and not for what was returned", checkKeyOfSent},
		{"a request in conflict with its key stores nothing", checkKeyConflictStoresNothing},
		{"a request that is refused binds no key", checkKeyNotBoundByConflict},
		{"a key is bound by a request of which some events are replays", checkKeyMixed},
		{"a key is bound by a request of which all events are replays", checkKeyAllReplays},
		{"without a key or a reference the same request is stored again", checkNoKey},
		{"keys are compared whole and with their case", checkKeyExact},
		{"a key stays bound after a thousand others", checkManyKeys},
	}
}

// anonymous is a request whose events only a key can protect.
func anonymous() []draft {
	return []draft{{number: "1"}, {number: "2"}, {number: "1"}}
}

func checkKeyReplay(c *check) {
	s := c.open()
	b := keyed("key", batch(acme, anonymous()...))
	originals := s.fresh(b)
	between := s.fresh(batch(acme, draft{}))
	for range 3 {
		s.replayed(b, originals...)
	}
	s.holds(acme, append(originals, between...)...)
}

func checkKeyWithReferences(c *check) {
	s := c.open()
	drafts := []draft{{reference: "a"}, {}, {reference: "a"}, {reference: "b"}}
	b := keyed("key", batch(acme, drafts...))
	originals := s.append(b)
	s.replayed(b, originals...)
	s.replayed(batch(acme, drafts[0], drafts[3]), originals[0], originals[3])
	s.holds(acme, originals[0], originals[1], originals[3])
}

func checkKeyContentDecides(c *check) {
	s := c.open()
	originals := s.fresh(keyed("key", batch(acme, anonymous()...)))
	for _, layout := range layouts() {
		drafts := anonymous()
		for i := range drafts {
			drafts[i].layout = layout
			drafts[i].received = received().AddDate(10, 0, 0)
		}
		s.replayed(keyed("key", batch(acme, drafts...)), originals...)
	}
	b := keyed("key", batch(acme, anonymous()...))
	b.Digest[0] ^= 1
	s.replayed(b, originals...)
	s.holds(acme, originals...)
}

func checkKeyOtherContent(c *check) {
	s := c.open()
	request := func() []draft {
		return []draft{{number: "1", customerID: "c"}, {number: "1", customerID: "c", reference: "a"}}
	}
	originals := s.fresh(keyed("key", batch(acme, request()...)))
	for i := range request() {
		for _, change := range changes() {
			drafts := request()
			change.change(&drafts[i])
			conflict := s.conflict(keyed("key", batch(acme, drafts...)))
			equal(c, "ConflictError.Key", conflict.IdempotencyKey, true)
			equalList(c, "ConflictError.Fields", conflict.Fields, []string{change.field})
		}
	}
	s.holds(acme, originals...)
}

func checkKeyOtherCount(c *check) {
	s := c.open()
	originals := s.fresh(keyed("key", batch(acme, anonymous()...)))
	s.keyConflict(keyed("key", batch(acme, anonymous()[:2]...)))
	s.keyConflict(keyed("key", batch(acme, append(anonymous(), draft{})...)))
	s.holds(acme, originals...)
}

func checkKeyOtherOrder(c *check) {
	s := c.open()
	drafts := []draft{{reference: "a"}, {number: "2"}, {number: "3"}}
	originals := s.fresh(keyed("key", batch(acme, drafts...)))
	slices.Reverse(drafts)
	s.keyConflict(keyed("key", batch(acme, drafts...)))
	s.holds(acme, originals...)
}

func checkKeyOtherRoute(c *check) {
	s := c.open()
	b := keyed("key", batch(acme, draft{}))
	originals := s.fresh(b)
	b.Route = chargeingest.RouteBatch
	s.keyConflict(b)
	b.Digest[0] ^= 1
	s.keyConflict(b)
	s.holds(acme, originals...)
}

func checkKeyFirst(c *check) {
	s := c.open()
	d := draft{reference: "a", number: "1"}
	originals := s.fresh(keyed("key", batch(acme, d)))
	d.number = "2"
	s.keyConflict(keyed("key", batch(acme, d)))
	s.keyConflict(keyed("key", batch(acme, draft{reference: "b"})))
	s.holds(acme, originals...)
}

func checkKeyAcceptAll(c *check) {
	s := c.open()
	originals := s.fresh(keyed("key", batch(acme, draft{reference: "a", number: "1"})))
	s.keyConflict(returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "2"}))))
	s.holds(acme, originals...)
}

func checkKeyOfSent(c *check) {
	s := c.open()
	originals := s.fresh(batch(acme, draft{reference: "a", number: "1"}))
	for _, layout := range layouts() {
		sent := returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "2", layout: layout})))
		s.replayed(sent, originals...)
	}
	s.keyConflict(returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "1"}))))

	// A request that stores new events, one of them under a reference that is twice
	// in the request.
	var first []chargeingest.Outcome
	for _, layout := range layouts() {
		drafts := []draft{{}, {reference: "b", number: "1"}, {reference: "b", number: "2"}, {reference: "a", number: "3"}}
		for i := range drafts {
			drafts[i].layout = layout
		}
		b := returnOriginal(keyed("other", batch(acme, drafts...)))
		if first == nil {
			first = s.append(b)
			c.isReplay(2, first[2], first[1])
			c.isReplay(3, first[3], originals[0])
		}
		s.replayed(b, first...)
	}
	s.holds(acme, originals[0], first[0], first[1])
}

func checkKeyConflictStoresNothing(c *check) {
	s := c.open()
	first := keyed("key", batch(acme, anonymous()...))
	originals := s.fresh(first)
	refused := batch(acme, referenced("r", 3)...)
	s.keyConflict(keyed("key", refused))
	s.replayed(first, originals...)
	s.holds(acme, append(originals, s.fresh(refused)...)...)
}

func checkKeyNotBoundByConflict(c *check) {
	s := c.open()
	taken := s.fresh(batch(acme, draft{reference: "taken", number: "1"}))
	refused := keyed("key", batch(acme, draft{}, draft{reference: "taken", number: "2"}))
	for range 2 {
		equal(c, "ConflictError.Key of a request with a reference in conflict", s.conflict(refused).IdempotencyKey, false)
	}
	b := keyed("key", batch(acme, anonymous()...))
	originals := s.fresh(b)
	s.replayed(b, originals...)
	s.holds(acme, append(taken, originals...)...)
}

func checkKeyMixed(c *check) {
	s := c.open()
	stored := s.fresh(batch(acme, draft{reference: "a"}))
	b := keyed("key", batch(acme, draft{}, draft{reference: "a"}, draft{reference: "b"}))
	originals := s.append(b)
	c.isNew(b, 0, originals[0])
	c.isReplay(1, originals[1], stored[0])
	c.isNew(b, 2, originals[2])
	s.replayed(b, originals...)
	s.keyConflict(keyed("key", batch(acme, anonymous()...)))
	s.holds(acme, stored[0], originals[0], originals[2])
}

func checkKeyAllReplays(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	stored := s.fresh(batch(acme, d))
	b := keyed("key", batch(acme, d))
	s.replayed(b, stored...)
	s.replayed(b, stored...)
	s.keyConflict(keyed("key", batch(acme, draft{reference: "b"})))
	s.holds(acme, stored...)
}

func checkNoKey(c *check) {
	s := c.open()
	b := batch(acme, anonymous()...)
	first := s.fresh(b)
	second := s.fresh(b)
	third := s.fresh(keyed("key", b))
	s.holds(acme, slices.Concat(first, second, third)...)
}

func checkKeyExact(c *check) {
	s := c.open()
	long := strings.Repeat("k", 254)
	var stored []chargeingest.Outcome
	var sent []chargeingest.Batch
	for i, key := range append(keys(), "Key", "key", "KEY", "key:", "key%", "'", `"`, `\`, "~", long+"a", long+"b", long) {
		b := keyed(key, batch(acme, draft{number: strings.Repeat("1", i+1)}))
		sent = append(sent, b)
		stored = append(stored, s.fresh(b)...)
	}
	for i, b := range sent {
		s.replayed(b, stored[i])
	}
	s.holds(acme, stored...)
}

func checkManyKeys(c *check) {
	s := c.open()
	first := keyed("first", batch(acme, anonymous()...))
	stored := s.fresh(first)
	for round := range 10 {
		var others []chargeingest.Batch
		for i := range 110 {
			others = append(others, keyed(fmt.Sprint("key-", round, "-", i), batch(acme, draft{})))
		}
		for i, r := range s.race(others) {
			c.outcomes(others[i], r)
		}
	}
	s.replayed(first, stored...)
}
