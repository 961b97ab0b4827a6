package storetest

import (
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
)

func referenceCases() []testCase {
	return []testCase{
		{"the same event sent again is answered with the original", checkReplay},
		{"content decides and not the digest or the layout", checkContentDecides},
		{"a timestamp left out both times is the same", checkTimestampLeftOut},
		{"a timestamp sent that equals the assigned one is the same", checkTimestampReadBack},
		{"a timestamp that is the same instant in another spelling is the same", checkTimestampSpelling},
		{"a timestamp sent that is not the assigned one is a conflict", checkTimestampOther},
		{"a timestamp sent first and left out then is a conflict", checkTimestampDropped},
		{"other content is a conflict that names the event stored first and what differs", checkConflict},
		{"text is the same only as it is spelled", checkSpelling},
		{"a conflict changes nothing of the event stored first", checkConflictChangesNothing},
		{"under ReturnOriginal other content is answered with the original", checkAcceptAll},
		{"references are compared whole and with their case", checkReferenceExact},
	}
}

func checkReplay(c *check) {
	s := c.open()
	b := batch(acme, draft{reference: "a", customerID: "c"})
	original := s.fresh(b)
	s.fresh(batch(acme, draft{reference: "b", customerID: "c"}))
	for range 3 {
		s.replayed(b, original...)
	}
	if s.reader != nil {
		equal(c, "the number of events stored", len(s.pages(chargeingest.Query{Platform: acme})), 2)
	}
}

func checkContentDecides(c *check) {
	s := c.open()
	var stored []chargeingest.Outcome
	for _, first := range layouts() {
		d := draft{reference: fmt.Sprint("a", int(first)), customerID: "c", timestamp: "2026-01-01T00:00:00Z", layout: first}
		original := s.fresh(batch(acme, d))
		for _, d.layout = range layouts() {
			s.replayed(batch(acme, d), original...)
		}
		b := batch(acme, d)
		b.Events[0].Digest[0] ^= 1
		s.replayed(b, original...)
		stored = append(stored, original...)
	}
	s.holds(acme, stored...)
}

func checkTimestampLeftOut(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	original := s.fresh(batch(acme, d))
	d.received = received().AddDate(10, 0, 0)
	for _, d.layout = range layouts() {
		s.replayed(batch(acme, d), original...)
	}
	s.holds(acme, original...)
}

func checkTimestampReadBack(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	original := s.fresh(batch(acme, d))
	d.timestamp = d.assigned()
	d.received = received().Add(time.Hour)
	s.replayed(batch(acme, d), original...)
	s.holds(acme, original...)
}

func checkTimestampSpelling(c *check) {
	s := c.open()
	spellings := []string{"2026-03-01T12:00:00Z", "2026-03-01t12:00:00.000z", "2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00-00:00"}
	sent := draft{reference: "sent", timestamp: spellings[0]}
	b := keyed("key", batch(acme, draft{timestamp: spellings[0]}))
	original := append(s.fresh(batch(acme, draft{reference: "left-out"}, sent)), s.fresh(b)...)
	for _, timestamp := range spellings {
		sent.timestamp = timestamp
		s.replayed(batch(acme, draft{reference: "left-out", timestamp: timestamp}, sent), original[:2]...)
		s.replayed(keyed("key", batch(acme, draft{timestamp: timestamp})), original[2])
	}
	s.holds(acme, original...)
}

func checkTimestampOther(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	original := s.fresh(batch(acme, d))
	for _, d.timestamp = range []string{"2026-03-01T12:00:01Z", "2026-03-01T12:00:00.001Z"} {
		conflict := s.conflict(batch(acme, d))
		equalList(c, "ConflictError.Fields", conflict.Fields, []string{"timestamp"})
		equal(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	}
	s.holds(acme, original...)
}

func checkTimestampDropped(c *check) {
	s := c.open()
	// Even if the time of receipt happens to be the one that was sent.
	for _, reference := range []string{"a", "b"} {
		d := draft{reference: reference, timestamp: "2026-01-01T00:00:00Z"}
		if reference == "b" {
			d.timestamp = draft{}.assigned()
		}
		original := s.fresh(batch(acme, d))
		d.timestamp = ""
		d.received = received().Add(time.Hour)
		conflict := s.conflict(batch(acme, d))
		equalList(c, "ConflictError.Fields", conflict.Fields, []string{"timestamp"})
		equal(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	}
}

// change makes another content of a draft with the number 1 and the customer c.
// field is the path that differs then.
type change struct {
	field  string
	change func(*draft)
}

func changes() []change {
	return []change{
		{"value.number", func(d *draft) { d.number = "2" }},
		{"customer_id", func(d *draft) { d.customerID = "d" }},
		{"customer_id", func(d *draft) { d.customerID = "" }},
		{"customer_reference", func(d *draft) { d.customerReference = "r" }},
		{"pricing_plan_subscription_id", func(d *draft) { d.subscriptionID = "s" }},
		{"pricing_plan_subscription_reference", func(d *draft) { d.subscriptionReference = "s" }},
		{"product_item_id", func(d *draft) { d.productItemID = "other" }},
		{"timestamp", func(d *draft) { d.timestamp = "2026-01-01T00:00:00Z" }},
		{"extra", func(d *draft) { d.extra = "1" }},
	}
}

func checkConflict(c *check) {
	s := c.open()
	s.fresh(batch(acme, draft{reference: "before"}))
	first := draft{reference: "a", customerID: "c", number: "1"}
	original := s.fresh(batch(acme, first))
	for _, change := range changes() {
		d := first
		change.change(&d)
		conflict := s.conflict(batch(acme, d))
		equal(c, "ConflictError.Key", conflict.IdempotencyKey, false)
		equal(c, "ConflictError.Index", conflict.Index, 0)
		equal(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
		equalList(c, "ConflictError.Fields", conflict.Fields, []string{change.field})
	}
}

func checkSpelling(c *check) {
	s := c.open()
	original := s.fresh(batch(acme, draft{reference: "a", number: "1.10"}))
	for _, number := range []string{"1.1", "1.100", "01.10"} {
		conflict := s.conflict(batch(acme, draft{reference: "a", number: number}))
		equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	}
	s.holds(acme, original...)
}

func checkConflictChangesNothing(c *check) {
	s := c.open()
	first := batch(acme, draft{reference: "a", number: "1"})
	original := s.fresh(first)
	conflict := s.conflict(batch(acme, draft{reference: "a", number: "2"}))
	equal(c, "ConflictError.Key", conflict.IdempotencyKey, false)
	s.replayed(first, original...)
	s.holds(acme, original...)
}

func checkAcceptAll(c *check) {
	s := c.open()
	first := batch(acme, draft{reference: "a", number: "1"})
	original := s.fresh(first)
	other := batch(acme, draft{reference: "a", number: "2", customerID: "c"})
	s.replayed(returnOriginal(other), original...)
	s.replayed(first, original...)
	equal(c, "ConflictError.EventID without ReturnOriginal", s.conflict(other).EventID, original[0].ID)
	s.holds(acme, original...)
}

func checkReferenceExact(c *check) {
	s := c.open()
	var stored []chargeingest.Outcome
	var sent []chargeingest.Batch
	for i, reference := range append(references(), "Ref", "ref", "ref-", "ref_", "-ref", "-0", strings.Repeat("x", 254)) {
		b := batch(acme, draft{reference: reference, number: fmt.Sprint(i)})
		sent = append(sent, b)
		stored = append(stored, s.fresh(b)...)
	}
	for i, b := range sent {
		s.replayed(b, stored[i])
	}
	s.holds(acme, stored...)
}
