package storetest

import (
	"fmt"
	"slices"
	"strings"

	"example.com/chargeingest"
)

func keyCases() []testCase {
	return []testCase{
		{"a retry with its key returns the originals in request order", checkKeyReplay},
		{"a key also covers events with references", checkKeyWithReferences},
		{"requests with a key compare by content, not by digest", checkKeyContentDecides},
		{"a key with different content is a key conflict", checkKeyOtherContent},
		{"a key with a different number of events is a key conflict", checkKeyOtherCount},
		{"a key with its events in a different order is a key conflict", checkKeyOtherOrder},
		{"a key on a different route is a key conflict", checkKeyOtherRoute},
		{"the key is checked before the references", checkKeyFirst},
		{"ReturnOriginal applies to references, not to keys", checkKeyReturnOriginal},
		{"a key is compared with the request sent, not with the events returned", checkKeyComparesRequest},
		{"a request with a key conflict stores nothing", checkKeyConflictStoresNothing},
		{"a request with a conflict does not record its key", checkConflictRecordsNoKey},
		{"a request with some replays records its key", checkKeyReplaysAndNew},
		{"a request of replays only records its key", checkKeyAllReplays},
		{"without a key or references, the same request is stored again", checkNoKey},
		{"keys are compared in full and case-sensitively", checkKeyExact},
		{"a key stays recorded after 1,000 others", checkKeyAfterMany},
	}
}

func keyedOnly() []draft {
	return []draft{{number: "1"}, {number: "2"}, {number: "1"}}
}

func checkKeyReplay(c *check) {
	s := c.newTestedStore()
	b := keyed("key", batch(acme, keyedOnly()...))
	originals := s.appendNew(b)
	between := s.appendNew(batch(acme, draft{}))
	for range 3 {
		s.appendReplays(b, originals...)
	}
	s.wantStored(acme, append(originals, between...)...)
}

func checkKeyWithReferences(c *check) {
	s := c.newTestedStore()
	drafts := []draft{{reference: "a"}, {}, {reference: "a"}, {reference: "b"}}
	b := keyed("key", batch(acme, drafts...))
	originals := s.append(b)
	s.appendReplays(b, originals...)
	s.appendReplays(batch(acme, drafts[0], drafts[3]), originals[0], originals[3])
	s.wantStored(acme, originals[0], originals[1], originals[3])
}

func checkKeyContentDecides(c *check) {
	s := c.newTestedStore()
	originals := s.appendNew(keyed("key", batch(acme, keyedOnly()...)))
	for _, layout := range layouts() {
		drafts := keyedOnly()
		for i := range drafts {
			drafts[i].layout = layout
			drafts[i].received = received().AddDate(10, 0, 0)
		}
		s.appendReplays(keyed("key", batch(acme, drafts...)), originals...)
	}
	b := keyed("key", batch(acme, keyedOnly()...))
	b.Digest[0] ^= 1
	s.appendReplays(b, originals...)
	s.wantStored(acme, originals...)
}

func checkKeyOtherContent(c *check) {
	s := c.newTestedStore()
	request := func() []draft {
		return []draft{{number: "1", customerID: "c"}, {number: "1", customerID: "c", reference: "a"}}
	}
	originals := s.appendNew(keyed("key", batch(acme, request()...)))
	for i := range request() {
		for _, change := range changes() {
			drafts := request()
			change.change(&drafts[i])
			conflict := s.appendConflict(keyed("key", batch(acme, drafts...)))
			wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, true)
			wantList(c, "ConflictError.Fields", conflict.Fields, []string{change.field})
		}
	}
	s.wantStored(acme, originals...)
}

func checkKeyOtherCount(c *check) {
	s := c.newTestedStore()
	originals := s.appendNew(keyed("key", batch(acme, keyedOnly()...)))
	s.appendKeyConflict(keyed("key", batch(acme, keyedOnly()[:2]...)))
	s.appendKeyConflict(keyed("key", batch(acme, append(keyedOnly(), draft{})...)))
	s.wantStored(acme, originals...)
}

func checkKeyOtherOrder(c *check) {
	s := c.newTestedStore()
	drafts := []draft{{reference: "a"}, {number: "2"}, {number: "3"}}
	originals := s.appendNew(keyed("key", batch(acme, drafts...)))
	slices.Reverse(drafts)
	s.appendKeyConflict(keyed("key", batch(acme, drafts...)))
	s.wantStored(acme, originals...)
}

func checkKeyOtherRoute(c *check) {
	s := c.newTestedStore()
	b := keyed("key", batch(acme, draft{}))
	originals := s.appendNew(b)
	b.Route = chargeingest.RouteBatch
	s.appendKeyConflict(b)
	b.Digest[0] ^= 1
	s.appendKeyConflict(b)
	s.wantStored(acme, originals...)
}

func checkKeyFirst(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a", number: "1"}
	originals := s.appendNew(keyed("key", batch(acme, d)))
	d.number = "2"
	s.appendKeyConflict(keyed("key", batch(acme, d)))
	s.appendKeyConflict(keyed("key", batch(acme, draft{reference: "b"})))
	s.wantStored(acme, originals...)
}

func checkKeyReturnOriginal(c *check) {
	s := c.newTestedStore()
	originals := s.appendNew(keyed("key", batch(acme, draft{reference: "a", number: "1"})))
	s.appendKeyConflict(returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "2"}))))
	s.wantStored(acme, originals...)
}

func checkKeyComparesRequest(c *check) {
	s := c.newTestedStore()
	originals := s.appendNew(batch(acme, draft{reference: "a", number: "1"}))
	for _, layout := range layouts() {
		sent := returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "2", layout: layout})))
		s.appendReplays(sent, originals...)
	}
	s.appendKeyConflict(returnOriginal(keyed("key", batch(acme, draft{reference: "a", number: "1"}))))

	var first []chargeingest.Outcome
	for _, layout := range layouts() {
		drafts := []draft{{}, {reference: "b", number: "1"}, {reference: "b", number: "2"}, {reference: "a", number: "3"}}
		for i := range drafts {
			drafts[i].layout = layout
		}
		b := returnOriginal(keyed("other", batch(acme, drafts...)))
		if first == nil {
			first = s.append(b)
			c.wantReplay(2, first[2], first[1])
			c.wantReplay(3, first[3], originals[0])
		}
		s.appendReplays(b, first...)
	}
	s.wantStored(acme, originals[0], first[0], first[1])
}

func checkKeyConflictStoresNothing(c *check) {
	s := c.newTestedStore()
	first := keyed("key", batch(acme, keyedOnly()...))
	originals := s.appendNew(first)
	rejected := batch(acme, referenced("r", 3)...)
	s.appendKeyConflict(keyed("key", rejected))
	s.appendReplays(first, originals...)
	s.wantStored(acme, append(originals, s.appendNew(rejected)...)...)
}

func checkConflictRecordsNoKey(c *check) {
	s := c.newTestedStore()
	stored := s.appendNew(batch(acme, draft{reference: "stored", number: "1"}))
	rejected := keyed("key", batch(acme, draft{}, draft{reference: "stored", number: "2"}))
	for range 2 {
		wantEqual(c, "ConflictError.IdempotencyKey of a reference conflict", s.appendConflict(rejected).IdempotencyKey, false)
	}
	b := keyed("key", batch(acme, keyedOnly()...))
	originals := s.appendNew(b)
	s.appendReplays(b, originals...)
	s.wantStored(acme, append(stored, originals...)...)
}

func checkKeyReplaysAndNew(c *check) {
	s := c.newTestedStore()
	stored := s.appendNew(batch(acme, draft{reference: "a"}))
	b := keyed("key", batch(acme, draft{}, draft{reference: "a"}, draft{reference: "b"}))
	originals := s.append(b)
	c.wantNew(b, 0, originals[0])
	c.wantReplay(1, originals[1], stored[0])
	c.wantNew(b, 2, originals[2])
	s.appendReplays(b, originals...)
	s.appendKeyConflict(keyed("key", batch(acme, keyedOnly()...)))
	s.wantStored(acme, stored[0], originals[0], originals[2])
}

func checkKeyAllReplays(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	stored := s.appendNew(batch(acme, d))
	b := keyed("key", batch(acme, d))
	s.appendReplays(b, stored...)
	s.appendReplays(b, stored...)
	s.appendKeyConflict(keyed("key", batch(acme, draft{reference: "b"})))
	s.wantStored(acme, stored...)
}

func checkNoKey(c *check) {
	s := c.newTestedStore()
	b := batch(acme, keyedOnly()...)
	first := s.appendNew(b)
	second := s.appendNew(b)
	third := s.appendNew(keyed("key", b))
	s.wantStored(acme, slices.Concat(first, second, third)...)
}

func checkKeyExact(c *check) {
	s := c.newTestedStore()
	long := strings.Repeat("k", 254)
	var stored []chargeingest.Outcome
	var sent []chargeingest.Batch
	for i, key := range append(keys(), "Key", "key", "KEY", "key:", "key%", "'", `"`, `\`, "~", long+"a", long+"b", long) {
		b := keyed(key, batch(acme, draft{number: strings.Repeat("1", i+1)}))
		sent = append(sent, b)
		stored = append(stored, s.appendNew(b)...)
	}
	for i, b := range sent {
		s.appendReplays(b, stored[i])
	}
	s.wantStored(acme, stored...)
}

func checkKeyAfterMany(c *check) {
	s := c.newTestedStore()
	first := keyed("first", batch(acme, keyedOnly()...))
	stored := s.appendNew(first)
	for round := range 10 {
		var others []chargeingest.Batch
		for i := range 110 {
			others = append(others, keyed(fmt.Sprint("key-", round, "-", i), batch(acme, draft{})))
		}
		for i, r := range s.race(others) {
			c.wantSuccess(others[i], r)
		}
	}
	s.appendReplays(first, stored...)
}
