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

// The platforms of the cases.
const (
	acme   = "acme"
	globex = "globex"
)

func storingCases() []testCase {
	return []testCase{
		{"an id is chda_ and 26 characters that begin with the time of receipt", checkIDForm},
		{"ids strictly increase in the order of storing, over all platforms", checkIDsIncrease},
		{"ids increase though the time of receipt steps back", checkIDsClockBack},
		{"content is kept byte for byte", checkContentKept},
		{"digest and TimestampAssigned are kept with the event", checkMarksKept},
		{"a batch of a thousand events is answered in the order sent", checkLargeBatch},
		{"thousands of events and megabytes at once are stored whole or not at all, and what came before stays known", checkHugeBatch},
		{"events without a reference are never duplicates", checkNoReference},
		{"of a batch in conflict nothing is stored, whichever event is at fault", checkAllOrNothing},
		{"the outcomes of a receipt are the caller's to change", checkReceiptOwned},
	}
}

func checkIDForm(c *check) {
	form := regexp.MustCompile(`^` + storekit.IDPrefix + `[0-9A-Za-z]{26}$`)
	s := c.open()
	for i := range 3 {
		at := received().Add(time.Duration(i) * time.Hour)
		b := batch(acme, draft{received: at}, draft{received: at, reference: fmt.Sprint(i)})
		for _, o := range s.fresh(b) {
			if !form.MatchString(o.ID) {
				c.failf("the id %q", o.ID)
			}
			if o.ID < storekit.FirstID(at) || o.ID >= storekit.FirstID(at.Add(time.Second)) {
				c.failf("the id %q of an event received at %v, want one from %s on", o.ID, at, storekit.FirstID(at))
			}
		}
	}
}

func checkIDsIncrease(c *check) {
	s := c.open()
	var stored []chargeingest.Outcome
	for i := range 10 {
		for _, platform := range []string{globex, acme} {
			stored = append(stored, s.fresh(batch(platform, referenced(fmt.Sprint(i), 3)...))...)
		}
	}
	c.increasing(outcomeIDs(stored))
}

func checkIDsClockBack(c *check) {
	s := c.open()
	var stored []chargeingest.Outcome
	for _, step := range []time.Duration{0, time.Hour, -time.Millisecond, -24 * time.Hour, time.Second} {
		stored = append(stored, s.fresh(batch(acme,
			draft{received: received().Add(step)},
			draft{received: received().Add(step - time.Minute)},
		))...)
	}
	c.increasing(outcomeIDs(stored))
}

// increasing checks that no id is equal to the one before it, or less.
func (c *check) increasing(list []string) {
	c.Helper()
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			c.failf("the id %s came after %s", list[i], list[i-1])
		}
	}
}

func checkContentKept(c *check) {
	s := c.open()
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
		original := s.fresh(b)
		s.replayed(b, original...)
		stored = append(stored, original...)
	}
	s.holds(acme, stored...)
	if s.reader == nil {
		return
	}
	for _, o := range stored {
		c.sameEvent("an event read by its id", s.get(acme, o.ID), o.StoredEvent)
	}
}

func checkMarksKept(c *check) {
	s := c.open()
	for i, d := range []draft{{reference: "left-out"}, {reference: "sent", timestamp: "2026-01-01T00:00:00Z"}} {
		original := s.fresh(batch(acme, d))
		equal(c, "TimestampAssigned of a new event", original[0].TimestampAssigned, i == 0)
		equal(c, "Digest of a new event", original[0].Digest, d.event().Digest)
		s.replayed(batch(acme, d), original...)
	}
}

func checkLargeBatch(c *check) {
	s := c.open()
	b := batch(acme, referenced("r", 1000)...)
	stored := s.fresh(b)
	c.increasing(outcomeIDs(stored))
	s.replayed(b, stored...)
	s.holds(acme, stored...)
}

// checkHugeBatch stores more than a handler allows by default, 1,000 events and
// 4 MiB, and than fits into one statement of most databases.
func checkHugeBatch(c *check) {
	s := c.open()
	first := keyed("key", batch(acme, draft{reference: "first", number: "1"}, draft{}))
	stored := s.fresh(first)
	few := shared()
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
	conflict := s.conflict(batch(acme, append(drafts, draft{reference: "first", number: "2"})...))
	equal(c, "ConflictError.Index", conflict.Index, len(drafts))
	s.holds(acme, stored...)

	huge := keyed("huge", batch(acme, drafts...))
	outcomes := s.append(huge)
	last := len(outcomes) - 1
	for i := range last {
		c.isNew(huge, i, outcomes[i])
	}
	c.isReplay(last, outcomes[last], outcomes[1])
	s.replayed(first, stored...)
	s.replayed(batch(acme, draft{reference: "first", number: "1"}), stored[0])
	s.replayed(huge, outcomes...)
	if s.reader == nil {
		return
	}
	c.sameEvent("Get of the event stored first", s.get(acme, stored[0].ID), stored[0].StoredEvent)
	var events []known
	for i, o := range stored {
		events = append(events, known{o.StoredEvent, first.Events[i]})
	}
	for i, o := range outcomes[:last] {
		events = append(events, known{o.StoredEvent, huge.Events[i]})
	}
	s.selects(events, chargeingest.Query{Platform: acme, Order: chargeingest.Ascending})
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
		s.selects(events, q)
	}
	// Thousands of events lie between the two that these find.
	to := few.event().Timestamp.Add(time.Second)
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
			s.selects(events, q)
		}
	}
}

func checkNoReference(c *check) {
	s := c.open()
	b := batch(acme, draft{}, draft{}, draft{number: "2"})
	stored := append(s.fresh(b), s.fresh(b)...)
	c.increasing(outcomeIDs(stored))
	s.holds(acme, stored...)
}

func checkAllOrNothing(c *check) {
	taken := draft{reference: "taken", number: "1"}
	changed := draft{reference: "taken", number: "2"}
	s := c.open()
	for at := range 4 {
		platform := fmt.Sprint(acme, at)
		original := s.fresh(batch(platform, taken))
		others := referenced("other", 3)
		conflict := s.conflict(batch(platform, slices.Insert(slices.Clone(others), at, changed)...))
		equal(c, "ConflictError.Key", conflict.IdempotencyKey, false)
		equal(c, "ConflictError.Index", conflict.Index, at)
		s.holds(platform, original...)
		s.holds(platform, append(original, s.fresh(batch(platform, others...))...)...)
	}
}

func checkReceiptOwned(c *check) {
	s := c.open()
	b := keyed("key", batch(acme, draft{reference: "a"}, draft{reference: "a"}, draft{}))
	stored := s.append(b)
	original := slices.Clone(stored)
	clear(stored)
	// Each receipt is overwritten in its turn, by the key and by the reference.
	for range 2 {
		for _, again := range []chargeingest.Batch{b, batch(acme, draft{reference: "a"})} {
			outcomes := s.append(again)
			for i := range outcomes {
				c.sameEvent("a replay after the answers were overwritten", outcomes[i].StoredEvent, original[i].StoredEvent)
			}
			clear(outcomes)
		}
	}
	s.holds(acme, original[0], original[2])
}
