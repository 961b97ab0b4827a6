package storetest

import (
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
)

func referenceCases() []testCase {
	return []testCase{
		{"a retry of an event returns the original", checkReplay},
		{"an event is a replay by its content, not by its digest or JSON layout", checkContentDecides},
		{"an event without a timestamp is a replay of one without a timestamp", checkTimestampLeftOut},
		{"an event with the timestamp that was assigned is a replay", checkTimestampAssigned},
		{"a timestamp of the same instant in another notation is a replay", checkTimestampSpelling},
		{"a timestamp other than the assigned one is a conflict", checkTimestampOther},
		{"an event without the timestamp that was sent first is a conflict", checkTimestampOmitted},
		{"different content is a conflict that names the stored event and the fields that differ", checkConflict},
		{"decimals compare as text: 1.1 and 1.10 differ", checkDecimalText},
		{"a conflict leaves the stored event unchanged", checkConflictChangesNothing},
		{"under ReturnOriginal, different content returns the original", checkReturnOriginal},
		{"references are compared in full and case-sensitively", checkReferenceExact},
	}
}

func checkReplay(c *check) {
	s := c.newTestedStore()
	b := batch(acme, draft{reference: "a", customerID: "c"})
	original := s.appendNew(b)
	s.appendNew(batch(acme, draft{reference: "b", customerID: "c"}))
	for range 3 {
		s.appendReplays(b, original...)
	}
	if s.reader != nil {
		wantEqual(c, "number of stored events", len(s.pages(chargeingest.Query{Platform: acme})), 2)
	}
}

func checkContentDecides(c *check) {
	s := c.newTestedStore()
	var stored []chargeingest.Outcome
	for _, first := range layouts() {
		d := draft{reference: fmt.Sprint("a", int(first)), customerID: "c", timestamp: "2026-01-01T00:00:00Z", layout: first}
		original := s.appendNew(batch(acme, d))
		for _, d.layout = range layouts() {
			s.appendReplays(batch(acme, d), original...)
		}
		b := batch(acme, d)
		b.Events[0].Digest[0] ^= 1
		s.appendReplays(b, original...)
		stored = append(stored, original...)
	}
	s.wantStored(acme, stored...)
}

func checkTimestampLeftOut(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	original := s.appendNew(batch(acme, d))
	d.received = received().AddDate(10, 0, 0)
	for _, d.layout = range layouts() {
		s.appendReplays(batch(acme, d), original...)
	}
	s.wantStored(acme, original...)
}

func checkTimestampAssigned(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	original := s.appendNew(batch(acme, d))
	d.timestamp = d.assignedTimestamp()
	d.received = received().Add(time.Hour)
	s.appendReplays(batch(acme, d), original...)
	s.wantStored(acme, original...)
}

func checkTimestampSpelling(c *check) {
	s := c.newTestedStore()
	spellings := []string{"2026-03-01T12:00:00Z", "2026-03-01t12:00:00.000z", "2026-03-01T14:00:00+02:00", "2026-03-01T12:00:00-00:00"}
	sent := draft{reference: "sent", timestamp: spellings[0]}
	b := keyed("key", batch(acme, draft{timestamp: spellings[0]}))
	original := append(s.appendNew(batch(acme, draft{reference: "left-out"}, sent)), s.appendNew(b)...)
	for _, timestamp := range spellings {
		sent.timestamp = timestamp
		s.appendReplays(batch(acme, draft{reference: "left-out", timestamp: timestamp}, sent), original[:2]...)
		s.appendReplays(keyed("key", batch(acme, draft{timestamp: timestamp})), original[2])
	}
	s.wantStored(acme, original...)
}

func checkTimestampOther(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	original := s.appendNew(batch(acme, d))
	for _, d.timestamp = range []string{"2026-03-01T12:00:01Z", "2026-03-01T12:00:00.001Z"} {
		conflict := s.appendConflict(batch(acme, d))
		wantList(c, "ConflictError.Fields", conflict.Fields, []string{"timestamp"})
		wantEqual(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	}
	s.wantStored(acme, original...)
}

func checkTimestampOmitted(c *check) {
	s := c.newTestedStore()
	for _, reference := range []string{"a", "b"} {
		d := draft{reference: reference, timestamp: "2026-01-01T00:00:00Z"}
		if reference == "b" {
			d.timestamp = draft{}.assignedTimestamp()
		}
		original := s.appendNew(batch(acme, d))
		d.timestamp = ""
		d.received = received().Add(time.Hour)
		conflict := s.appendConflict(batch(acme, d))
		wantList(c, "ConflictError.Fields", conflict.Fields, []string{"timestamp"})
		wantEqual(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	}
}

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
	s := c.newTestedStore()
	s.appendNew(batch(acme, draft{reference: "before"}))
	first := draft{reference: "a", customerID: "c", number: "1"}
	original := s.appendNew(batch(acme, first))
	for _, change := range changes() {
		d := first
		change.change(&d)
		conflict := s.appendConflict(batch(acme, d))
		wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, false)
		wantEqual(c, "ConflictError.Index", conflict.Index, 0)
		wantEqual(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
		wantList(c, "ConflictError.Fields", conflict.Fields, []string{change.field})
	}
}

func checkDecimalText(c *check) {
	s := c.newTestedStore()
	original := s.appendNew(batch(acme, draft{reference: "a", number: "1.10"}))
	for _, number := range []string{"1.1", "1.100", "01.10"} {
		conflict := s.appendConflict(batch(acme, draft{reference: "a", number: number}))
		wantList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	}
	s.wantStored(acme, original...)
}

func checkConflictChangesNothing(c *check) {
	s := c.newTestedStore()
	first := batch(acme, draft{reference: "a", number: "1"})
	original := s.appendNew(first)
	conflict := s.appendConflict(batch(acme, draft{reference: "a", number: "2"}))
	wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, false)
	s.appendReplays(first, original...)
	s.wantStored(acme, original...)
}

func checkReturnOriginal(c *check) {
	s := c.newTestedStore()
	first := batch(acme, draft{reference: "a", number: "1"})
	original := s.appendNew(first)
	other := batch(acme, draft{reference: "a", number: "2", customerID: "c"})
	s.appendReplays(returnOriginal(other), original...)
	s.appendReplays(first, original...)
	wantEqual(c, "ConflictError.EventID under RejectConflict", s.appendConflict(other).EventID, original[0].ID)
	s.wantStored(acme, original...)
}

func checkReferenceExact(c *check) {
	s := c.newTestedStore()
	var stored []chargeingest.Outcome
	var sent []chargeingest.Batch
	for i, reference := range append(references(), "Ref", "ref", "ref-", "ref_", "-ref", "-0", strings.Repeat("x", 254)) {
		b := batch(acme, draft{reference: reference, number: fmt.Sprint(i)})
		sent = append(sent, b)
		stored = append(stored, s.appendNew(b)...)
	}
	for i, b := range sent {
		s.appendReplays(b, stored[i])
	}
	s.wantStored(acme, stored...)
}
