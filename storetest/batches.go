package storetest

import (
	"errors"
	"slices"
	"strings"

	"example.com/chargeingest"
)

func batchCases() []testCase {
	return []testCase{
		{"an event repeated in a batch is stored once and returned at each position", checkRepeatedInBatch},
		{"a reference repeated in a batch with different content is a conflict at the later event", checkRepeatedInBatchChanged},
		{"a stored event repeated in a batch returns the original at each position", checkStoredRepeatedInBatch},
		{"each repetition of a stored event in a batch is compared with the original", checkStoredRepeatedChanged},
		{"under ReturnOriginal, the first event of a batch with a reference is the original", checkReturnOriginalInBatch},
		{"a batch of replays and new events stores the new ones and returns all in request order", checkReplaysAndNew},
		{"a batch with a conflict leaves its references free", checkConflictFreesReferences},
		{"a batch whose replays exceed its own events by 16 MiB returns ErrResponseTooLarge and stores nothing", checkResponseTooLarge},
	}
}

func checkRepeatedInBatch(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	again := draft{reference: "a", layout: reversed}
	b := batch(acme, d, draft{}, again, d)
	outcomes := s.append(b)
	c.wantNew(b, 0, outcomes[0])
	c.wantNew(b, 1, outcomes[1])
	c.wantReplay(2, outcomes[2], outcomes[0])
	c.wantReplay(3, outcomes[3], outcomes[0])
	s.appendReplays(batch(acme, d), outcomes[0])
	s.wantStored(acme, outcomes[0], outcomes[1])
}

func checkRepeatedInBatchChanged(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a", number: "1"}
	changed := draft{reference: "a", number: "2"}
	conflict := s.appendConflict(batch(acme, draft{reference: "b"}, d, d, changed))
	wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, false)
	wantEqual(c, "ConflictError.Index", conflict.Index, 3)
	wantEqual(c, "ConflictError.EventID", conflict.EventID, "")
	wantList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.wantStored(acme)
	s.appendNew(batch(acme, changed, draft{reference: "b"}))
}

func checkStoredRepeatedInBatch(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a"}
	original := s.appendNew(batch(acme, d))
	again := draft{reference: "a", layout: spaced, received: received().AddDate(0, 0, 1)}
	s.appendReplays(batch(acme, d, again), original[0], original[0])
	s.wantStored(acme, original...)
}

func checkStoredRepeatedChanged(c *check) {
	s := c.newTestedStore()
	d := draft{reference: "a", number: "1"}
	original := s.appendNew(batch(acme, d))
	conflict := s.appendConflict(batch(acme, draft{}, d, draft{reference: "a", number: "2"}))
	wantEqual(c, "ConflictError.Index", conflict.Index, 2)
	wantEqual(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	wantList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.wantStored(acme, original...)
}

func checkReturnOriginalInBatch(c *check) {
	s := c.newTestedStore()
	stored := s.appendNew(batch(acme, draft{reference: "stored", number: "1"}))
	b := returnOriginal(batch(acme,
		draft{reference: "a", number: "1"},
		draft{reference: "a", number: "2"},
		draft{reference: "stored", number: "2"},
		draft{reference: "stored", number: "3"},
	))
	outcomes := s.append(b)
	c.wantNew(b, 0, outcomes[0])
	c.wantReplay(1, outcomes[1], outcomes[0])
	c.wantReplay(2, outcomes[2], stored[0])
	c.wantReplay(3, outcomes[3], stored[0])
	s.wantStored(acme, stored[0], outcomes[0])
}

func checkReplaysAndNew(c *check) {
	s := c.newTestedStore()
	a, b := draft{reference: "a"}, draft{reference: "b"}
	stored := s.appendNew(batch(acme, a, b))
	mixed := batch(acme, draft{reference: "c"}, b, draft{}, draft{reference: "c"}, a, draft{reference: "d"})
	outcomes := s.append(mixed)
	c.wantNew(mixed, 0, outcomes[0])
	c.wantReplay(1, outcomes[1], stored[1])
	c.wantNew(mixed, 2, outcomes[2])
	c.wantReplay(3, outcomes[3], outcomes[0])
	c.wantReplay(4, outcomes[4], stored[0])
	c.wantNew(mixed, 5, outcomes[5])
	s.wantStored(acme, stored[0], stored[1], outcomes[0], outcomes[2], outcomes[5])
}

func checkConflictFreesReferences(c *check) {
	s := c.newTestedStore()
	stored := s.appendNew(batch(acme, draft{reference: "stored", number: "1"}))
	rejected := append(referenced("r", 5), draft{reference: "stored", number: "2"})
	wantEqual(c, "ConflictError.IdempotencyKey", s.appendConflict(batch(acme, rejected...)).IdempotencyKey, false)
	var others []draft
	for _, d := range referenced("r", 5) {
		d.number = "99"
		others = append(others, d)
	}
	s.wantStored(acme, append([]chargeingest.Outcome{stored[0]}, s.appendNew(batch(acme, others...))...)...)
}

// checkResponseTooLarge repeats a large stored event in small requests.
func checkResponseTooLarge(c *check) {
	const copies = 1000
	s := c.newTestedStore()
	original := s.appendNew(batch(acme, draft{reference: "a", extra: "[" + strings.Repeat(" ", 17<<20/copies) + "]"}))
	again := draft{reference: "a", extra: "[]"}
	same := batch(acme, append([]draft{{reference: "new"}}, slices.Repeat([]draft{again}, copies)...)...)
	again.number = "2"
	other := returnOriginal(batch(acme, append([]draft{{reference: "new"}}, slices.Repeat([]draft{again}, copies)...)...))
	for _, b := range []chargeingest.Batch{keyed("same", same), keyed("other", other)} {
		if _, err := s.Append(c.Context(), b); !errors.Is(err, chargeingest.ErrResponseTooLarge) {
			c.failf("Append returned error %v, want ErrResponseTooLarge", err)
		}
		s.wantStored(acme, original...)
		b.Events = b.Events[:copies/2] // with the same key
		outcomes := s.append(b)
		c.wantReplay(copies/2-1, outcomes[copies/2-1], original[0])
		original = append(original[:1], outcomes[0])
	}
}
