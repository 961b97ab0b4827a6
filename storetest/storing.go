package storetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

const (
	acme   = "acme"
	globex = "globex"
)

func storingCases() []testCase {
	return []testCase{
		{"an id is chda_ and 26 characters that start with the time of receipt", checkIDForm},
		{"ids strictly increase in storage order across platforms", checkIDsIncrease},
		{"ids increase even if the time of receipt steps back", checkIDsClockBack},
		{"content is stored byte for byte", checkContentKept},
		{"Digest and TimestampAssigned are stored with the event", checkMetadataKept},
		{"a batch of 1,000 events returns its outcomes in request order", checkLargeBatch},
		{"a batch of thousands of events and several MiB is atomic and keeps earlier records", checkHugeBatch},
		{"events without a reference are never duplicates", checkNoReference},
		{"a batch with a conflict stores nothing, whichever event conflicts", checkAllOrNothing},
		{"the caller may modify the outcomes that Append returns", checkOutcomesOwned},
	}
}

func checkIDForm(c *check) {
	form := regexp.MustCompile(`^` + storekit.IDPrefix + `[0-9A-Za-z]{26}$`)
	s := c.newTestedStore()
	for i := range 3 {
		at := received().Add(time.Duration(i) * time.Hour)
		b := batch(acme, draft{received: at}, draft{received: at, reference: fmt.Sprint(i)})
		for _, o := range s.appendNew(b) {
			if !form.MatchString(o.ID) {
				c.failf("id %q", o.ID)
			}
			if o.ID < storekit.FirstID(at) || o.ID >= storekit.FirstID(at.Add(time.Second)) {
				c.failf("id %q of an event received at %v, want %s or later", o.ID, at, storekit.FirstID(at))
			}
		}
	}
}

func checkIDsIncrease(c *check) {
	s := c.newTestedStore()
	var stored []chargeingest.Outcome
	for i := range 10 {
		for _, platform := range []string{globex, acme} {
			stored = append(stored, s.appendNew(batch(platform, referenced(fmt.Sprint(i), 3)...))...)
		}
	}
	c.wantIncreasing(outcomeIDs(stored))
}

func checkIDsClockBack(c *check) {
	s := c.newTestedStore()
	var stored []chargeingest.Outcome
	for _, step := range []time.Duration{0, time.Hour, -time.Millisecond, -24 * time.Hour, time.Second} {
		stored = append(stored, s.appendNew(batch(acme,
			draft{received: received().Add(step)},
			draft{received: received().Add(step - time.Minute)},
		))...)
	}
	c.wantIncreasing(outcomeIDs(stored))
}

func (c *check) wantIncreasing(list []string) {
	c.Helper()
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			c.failf("id %s follows %s", list[i], list[i-1])
		}
	}
}

func checkContentKept(c *check) {
	s := c.newTestedStore()
	contents := []draft{
		{reference: "decimals", number: "1.10", extra: `["-0.00","1.0","00.10","12345678901234567890123456789012345678"]`},
		{reference: "numbers", extra: `[1.10,-0.0,1E400,12345678901234567890123456789012345678.90]`},
		{reference: "unicode", customerID: "Łódź 東京 🧾 e\u0301 é \u2028 \ufeff", extra: `"Łódź 東京 🧾"`},
		{reference: "escapes", extra: `"\u00e9 \u003c\/\" \\ \b\f\n\r\t \u0000 \ud83e\uddfe"`},
		{reference: "quotes", customerID: `'; DROP TABLE events; -- " \ % _ $1 ?`},
		{reference: "unescaped", extra: "\"<b> & ' \u2028 \u007f \u0085 \ufffd \ufffe ${a} %20\""},
		{reference: "white-space", layout: spaced},
		{reference: "unusual-order", layout: reversed},
		{reference: "timestamp", timestamp: "2026-03-01t12:00:00.100000000+00:00"},
		{reference: "empty-values", extra: `{"data":[],"rules":{},"text":""}`},
		{reference: "large", extra: `"` + strings.Repeat("0123456789", 10_000) + `"`},
		{reference: "as-large-as-a-body", extra: quote(strings.Repeat("0123456789abcdé\n", 4<<20/16))},
	}
	var stored []chargeingest.Outcome
	for _, d := range contents {
		b := batch(acme, d)
		original := s.appendNew(b)
		s.appendReplays(b, original...)
		stored = append(stored, original...)
	}
	s.wantStored(acme, stored...)
	if s.reader == nil {
		return
	}
	for _, o := range stored {
		c.wantEvent("Get", s.get(acme, o.ID), o.StoredEvent)
	}
}

func checkMetadataKept(c *check) {
	s := c.newTestedStore()
	for i, d := range []draft{{reference: "left-out"}, {reference: "sent", timestamp: "2026-01-01T00:00:00Z"}} {
		original := s.appendNew(batch(acme, d))
		wantEqual(c, "TimestampAssigned of a new event", original[0].TimestampAssigned, i == 0)
		wantEqual(c, "Digest of a new event", original[0].Digest, d.newEvent().Digest)
		s.appendReplays(batch(acme, d), original...)
	}
}

func checkLargeBatch(c *check) {
	s := c.newTestedStore()
	b := batch(acme, referenced("r", 1000)...)
	stored := s.appendNew(b)
	c.wantIncreasing(outcomeIDs(stored))
	s.appendReplays(b, stored...)
	s.wantStored(acme, stored...)
}

// checkHugeBatch exceeds the size of one statement in most databases.
func checkHugeBatch(c *check) {
	s := c.newTestedStore()
	first := keyed("key", batch(acme, draft{reference: "first", number: "1"}, draft{}))
	stored := s.appendNew(first)
	few := matchingDraft()
	few.reference = ""
	few.timestamp = "2020-01-01T00:00:00Z"
	drafts := append([]draft{few}, referenced("r", 6600)...)
	extra := quote(strings.Repeat("é", 250))
	for i := 1; i < len(drafts); i++ {
		d := &drafts[i]
		if i%2 == 0 {
			d.reference = ""
		}
		d.customerID, d.customerReference, d.subscriptionID, d.subscriptionReference = "many", "many", "many", "many"
		d.extra, d.timestamp = extra, received().Format(time.RFC3339)
	}
	repeated := drafts[1]
	drafts = append(drafts, few, repeated)
	conflict := s.appendConflict(batch(acme, append(drafts, draft{reference: "first", number: "2"})...))
	wantEqual(c, "ConflictError.Index", conflict.Index, len(drafts))
	s.wantStored(acme, stored...)

	huge := keyed("huge", batch(acme, drafts...))
	outcomes := s.append(huge)
	last := len(outcomes) - 1
	for i := range last {
		c.wantNew(huge, i, outcomes[i])
	}
	c.wantReplay(last, outcomes[last], outcomes[1])
	s.appendReplays(first, stored...)
	s.appendReplays(batch(acme, draft{reference: "first", number: "1"}), stored[0])
	s.appendReplays(huge, outcomes...)
	if s.reader == nil {
		return
	}
	c.wantEvent("Get of the first event", s.get(acme, stored[0].ID), stored[0].StoredEvent)
	var events []seeded
	for i, o := range stored {
		events = append(events, seeded{o.StoredEvent, first.Events[i]})
	}
	for i, o := range outcomes[:last] {
		events = append(events, seeded{o.StoredEvent, huge.Events[i]})
	}
	s.wantQuery(events, chargeingest.Query{Platform: acme, Order: chargeingest.Ascending})
	for i, q := range []chargeingest.Query{
		{},
		{CustomerID: "many"},
		{CustomerReference: "many"},
		{PricingPlanSubscriptionID: "many"},
		{PricingPlanSubscriptionReference: "many"},
		{ProductItemID: "item"},
		{From: new(received().Truncate(time.Second))},
	} {
		q.Platform, q.Order, q.Limit = acme, orders()[(i+1)%2], 1000
		s.wantQuery(events, q)
	}
	to := few.newEvent().Timestamp.Add(time.Second)
	for _, q := range []chargeingest.Query{
		{CustomerID: few.customerID},
		{CustomerReference: few.customerReference},
		{PricingPlanSubscriptionID: few.subscriptionID},
		{PricingPlanSubscriptionReference: few.subscriptionReference},
		{ProductItemID: few.productItemID},
		{To: &to},
	} {
		q.Platform = acme
		for _, q.Order = range orders() {
			s.wantQuery(events, q)
		}
	}
}

func checkNoReference(c *check) {
	s := c.newTestedStore()
	b := batch(acme, draft{}, draft{}, draft{number: "2"})
	stored := append(s.appendNew(b), s.appendNew(b)...)
	c.wantIncreasing(outcomeIDs(stored))
	s.wantStored(acme, stored...)
}

func checkAllOrNothing(c *check) {
	stored := draft{reference: "stored", number: "1"}
	changed := draft{reference: "stored", number: "2"}
	s := c.newTestedStore()
	for at := range 4 {
		platform := fmt.Sprint(acme, at)
		original := s.appendNew(batch(platform, stored))
		others := referenced("other", 3)
		conflict := s.appendConflict(batch(platform, slices.Insert(slices.Clone(others), at, changed)...))
		wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, false)
		wantEqual(c, "ConflictError.Index", conflict.Index, at)
		s.wantStored(platform, original...)
		s.wantStored(platform, append(original, s.appendNew(batch(platform, others...))...)...)
	}
}

func checkOutcomesOwned(c *check) {
	s := c.newTestedStore()
	b := keyed("key", batch(acme, draft{reference: "a"}, draft{reference: "a"}, draft{}))
	stored := s.append(b)
	original := slices.Clone(stored)
	clear(stored)
	for range 2 {
		for _, again := range []chargeingest.Batch{b, batch(acme, draft{reference: "a"})} {
			outcomes := s.append(again)
			for i := range outcomes {
				c.wantEvent("replay after earlier outcomes were modified", outcomes[i].StoredEvent, original[i].StoredEvent)
			}
			clear(outcomes)
		}
	}
	s.wantStored(acme, original[0], original[2])
}
