package storetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/eventid"
)

// The platforms of the cases.
const (
	acme   = "acme"
	globex = "globex"
)

func storingCases() []testCase {
	return []testCase{
		{"an id is chda_ and 26 characters", checkIDForm},
		{"ids strictly increase in the order of storing, over all platforms", checkIDsIncrease},
		{"ids increase though the time of receipt steps back", checkIDsClockBack},
		{"content is kept byte for byte", checkContentKept},
		{"digest and TimestampAssigned are kept with the event", checkMarksKept},
		{"a batch of a thousand events is answered in the order sent", checkLargeBatch},
		{"events without a reference are never duplicates", checkNoReference},
		{"of a batch in conflict nothing is stored, whichever event is at fault", checkAllOrNothing},
		{"the outcomes of a receipt are the caller's to change", checkReceiptOwned},
	}
}

func checkIDForm(c *check) {
	form := regexp.MustCompile(`^` + eventid.Prefix + `[0-9A-Za-z]{26}$`)
	s := c.open()
	for _, o := range append(s.fresh(batch(acme, draft{})), s.fresh(batch(acme, referenced("r", 3)...))...) {
		if !form.MatchString(o.ID) {
			c.failf("the id %q", o.ID)
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
		{reference: "white-space", layout: spaced},
		{reference: "unusual-order", layout: reversed},
		{reference: "timestamp", timestamp: "2026-03-01t12:00:00.100000000+00:00"},
		{reference: "empty-values", extra: `{"data":[],"rules":{},"text":""}`},
		{reference: "large", extra: `"` + strings.Repeat("0123456789", 10_000) + `"`},
	}
	var stored []chargeingest.Outcome
	for _, d := range contents {
		original := s.fresh(batch(acme, d))
		s.replayed(batch(acme, d), original...)
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
	for at := range 4 {
		s := c.open()
		original := s.fresh(batch(acme, taken))
		others := referenced("other", 3)
		conflict := s.conflict(batch(acme, slices.Insert(slices.Clone(others), at, changed)...))
		equal(c, "ConflictError.Key", conflict.Key, false)
		equal(c, "ConflictError.Index", conflict.Index, at)
		s.holds(acme, original...)
		s.holds(acme, append(original, s.fresh(batch(acme, others...))...)...)
	}
}

func checkReceiptOwned(c *check) {
	s := c.open()
	b := keyed("key", batch(acme, draft{reference: "a"}, draft{reference: "a"}, draft{}))
	stored := s.append(b)
	original := slices.Clone(stored)
	clear(stored)
	// Each answer is overwritten in its turn, by the key and by the reference.
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
