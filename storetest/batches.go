package storetest

import (
	"errors"
	"slices"
	"strings"

	"example.com/chargeingest"
)

func batchCases() []testCase {
	return []testCase{
		{"the same event twice in a batch is stored once and answered in both places", checkTwiceInBatch},
		{"a reference twice in a batch with other content is a conflict of the later event", checkTwiceInBatchChanged},
		{"a stored event twice in a batch is answered with the original in both places", checkTwiceInBatchStored},
		{"a stored event twice in a batch is compared with the original each time", checkTwiceInBatchStoredChanged},
		{"under ReturnOriginal the first of a batch wins", checkTwiceInBatchAcceptAll},
		{"a batch of replays and new events stores the new ones and answers all in order", checkMixed},
		{"of a batch in conflict no reference is taken", checkConflictTakesNoReference},
		{"a batch that repeats what is larger by 16 MiB is ErrResponseTooLarge and stores nothing", checkAnswerTooLarge},
	}
}

func checkTwiceInBatch(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	again := draft{reference: "a", layout: reversed}
	b := batch(acme, d, draft{}, again, d)
	outcomes := s.append(b)
	c.isNew(b, 0, outcomes[0])
	c.isNew(b, 1, outcomes[1])
	c.isReplay(2, outcomes[2], outcomes[0])
	c.isReplay(3, outcomes[3], outcomes[0])
	s.replayed(batch(acme, d), outcomes[0])
	s.holds(acme, outcomes[0], outcomes[1])
}

func checkTwiceInBatchChanged(c *check) {
	s := c.open()
	d := draft{reference: "a", number: "1"}
	changed := draft{reference: "a", number: "2"}
	conflict := s.conflict(batch(acme, draft{reference: "b"}, d, d, changed))
	equal(c, "ConflictError.Key", conflict.IdempotencyKey, false)
	equal(c, "ConflictError.Index", conflict.Index, 3)
	equal(c, "ConflictError.EventID", conflict.EventID, "")
	equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.holds(acme)
	s.fresh(batch(acme, changed, draft{reference: "b"}))
}

func checkTwiceInBatchStored(c *check) {
	s := c.open()
	d := draft{reference: "a"}
	original := s.fresh(batch(acme, d))
	again := draft{reference: "a", layout: spaced, received: received().AddDate(0, 0, 1)}
	s.replayed(batch(acme, d, again), original[0], original[0])
	s.holds(acme, original...)
}

func checkTwiceInBatchStoredChanged(c *check) {
	s := c.open()
	d := draft{reference: "a", number: "1"}
	original := s.fresh(batch(acme, d))
	conflict := s.conflict(batch(acme, draft{}, d, draft{reference: "a", number: "2"}))
	equal(c, "ConflictError.Index", conflict.Index, 2)
	equal(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.holds(acme, original...)
}

func checkTwiceInBatchAcceptAll(c *check) {
	s := c.open()
	stored := s.fresh(batch(acme, draft{reference: "stored", number: "1"}))
	b := returnOriginal(batch(acme,
		draft{reference: "a", number: "1"},
		draft{reference: "a", number: "2"},
		draft{reference: "stored", number: "2"},
		draft{reference: "stored", number: "3"},
	))
	outcomes := s.append(b)
	c.isNew(b, 0, outcomes[0])
	c.isReplay(1, outcomes[1], outcomes[0])
	c.isReplay(2, outcomes[2], stored[0])
	c.isReplay(3, outcomes[3], stored[0])
	s.holds(acme, stored[0], outcomes[0])
}

func checkMixed(c *check) {
	s := c.open()
	a, b := draft{reference: "a"}, draft{reference: "b"}
	stored := s.fresh(batch(acme, a, b))
	mixed := batch(acme, draft{reference: "c"}, b, draft{}, draft{reference: "c"}, a, draft{reference: "d"})
	outcomes := s.append(mixed)
	c.isNew(mixed, 0, outcomes[0])
	c.isReplay(1, outcomes[1], stored[1])
	c.isNew(mixed, 2, outcomes[2])
	c.isReplay(3, outcomes[3], outcomes[0])
	c.isReplay(4, outcomes[4], stored[0])
	c.isNew(mixed, 5, outcomes[5])
	s.holds(acme, stored[0], stored[1], outcomes[0], outcomes[2], outcomes[5])
}

func checkConflictTakesNoReference(c *check) {
	s := c.open()
	taken := s.fresh(batch(acme, draft{reference: "taken", number: "1"}))
	refused := append(referenced("r", 5), draft{reference: "taken", number: "2"})
	equal(c, "ConflictError.Key", s.conflict(batch(acme, refused...)).IdempotencyKey, false)
	// The refused references are free for other content.
	var others []draft
	for _, d := range referenced("r", 5) {
		d.number = "99"
		others = append(others, d)
	}
	s.holds(acme, append([]chargeingest.Outcome{taken[0]}, s.fresh(batch(acme, others...))...)...)
}

// checkAnswerTooLarge repeats one large event in a batch until its stored copies
// exceed 16 MiB. The sent events are short: they have no white space, or come under
// ReturnOriginal.
func checkAnswerTooLarge(c *check) {
	const copies = 1000
	s := c.open()
	original := s.fresh(batch(acme, draft{reference: "a", extra: "[" + strings.Repeat(" ", 17<<20/copies) + "]"}))
	again := draft{reference: "a", extra: "[]"}
	same := batch(acme, append([]draft{{reference: "new"}}, slices.Repeat([]draft{again}, copies)...)...)
	again.number = "2"
	other := returnOriginal(batch(acme, append([]draft{{reference: "new"}}, slices.Repeat([]draft{again}, copies)...)...))
	for _, b := range []chargeingest.Batch{keyed("same", same), keyed("other", other)} {
		if _, err := s.Append(c.Context(), b); !errors.Is(err, chargeingest.ErrResponseTooLarge) {
			c.failf("Append returned the error %v", err)
		}
		s.holds(acme, original...)
		b.Events = b.Events[:copies/2] // under the same key, which is still free
		outcomes := s.append(b)
		c.isReplay(copies/2-1, outcomes[copies/2-1], original[0])
		original = append(original[:1], outcomes[0])
	}
}
