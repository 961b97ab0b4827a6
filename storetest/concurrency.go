package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"example.com/chargeingest"
)

func concurrencyCases() []testCase {
	return []testCase{
		{"of a hundred sends of one event at once one stores it and the others replay it", checkRaceReference},
		{"of a hundred sends of one keyed request at once one stores it and the others replay it", checkRaceKey},
		{"of contents that race for a reference one is stored and the others conflict with it", checkRaceContents},
		{"of requests that race for a key one is stored and the others conflict", checkRaceRequests},
		{"batches that overlap in opposite orders all succeed and store each event once", checkRaceOverlap},
		{"what Append returned can be read at once", checkReadOwnWrites},
	}
}

// races is how often a race is run: a store that decides and inserts in two
// steps wins many of them.
const races = 10

func checkRaceReference(c *check) {
	for range races {
		c.raceReference()
	}
}

func (c *check) raceReference() {
	s := c.open()
	s.holds(acme, c.onlyOne(s, batch(acme, draft{reference: "a"}))...)
}

func checkRaceKey(c *check) {
	for range races {
		c.raceKey()
	}
}

func (c *check) raceKey() {
	s := c.open()
	s.holds(acme, c.onlyOne(s, keyed("key", batch(acme, anonymous()...)))...)
}

// onlyOne races a hundred copies of a batch and returns what was stored.
func (c *check) onlyOne(s *subject, b chargeingest.Batch) []chargeingest.Outcome {
	c.Helper()
	answers := make([][]chargeingest.Outcome, 100)
	var won []chargeingest.Outcome
	winner := -1
	for i, r := range s.race(slices.Repeat([]chargeingest.Batch{b}, len(answers))) {
		answers[i] = c.outcomes(b, r)
		if answers[i][0].Replayed {
			continue
		}
		if won != nil {
			c.failf("two of the sends stored the batch, as %v and %v", outcomeIDs(won), outcomeIDs(answers[i]))
		}
		winner, won = i, answers[i]
	}
	if won == nil {
		c.failf("all of the sends were answered with a replay")
	}
	for i, answer := range answers {
		for j, original := range won {
			if i == winner {
				c.isNew(b, j, original)
			} else {
				c.isReplay(j, answer[j], original)
			}
		}
	}
	return won
}

func checkRaceContents(c *check) {
	for range races {
		c.raceContents()
	}
}

func (c *check) raceContents() {
	s := c.open()
	var racing []chargeingest.Batch
	for i := range 30 {
		racing = append(racing, batch(acme, draft{}, draft{reference: "a", number: fmt.Sprint(i)}))
	}
	stored, refused := c.oneWins(racing, s.race(racing))
	for _, conflict := range refused {
		equal(c, "ConflictError.Key", conflict.Key, false)
		equal(c, "ConflictError.Index", conflict.Index, 1)
		equal(c, "ConflictError.EventID", conflict.EventID, stored[1].ID)
		equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	}
	s.holds(acme, stored...)
}

func checkRaceRequests(c *check) {
	for range races {
		c.raceRequests()
	}
}

func (c *check) raceRequests() {
	s := c.open()
	var racing []chargeingest.Batch
	for i := range 30 {
		racing = append(racing, keyed("key", batch(acme, draft{number: fmt.Sprint(i)}, draft{})))
	}
	stored, refused := c.oneWins(racing, s.race(racing))
	for _, conflict := range refused {
		equal(c, "ConflictError.Key", conflict.Key, true)
	}
	s.holds(acme, stored...)
}

// oneWins returns what the one successful batch stored, and the conflicts that
// the others got.
func (c *check) oneWins(racing []chargeingest.Batch, results []result) (stored []chargeingest.Outcome, refused []*chargeingest.ConflictError) {
	c.Helper()
	for i, r := range results {
		if r.err != nil {
			refused = append(refused, c.conflict(r.err))
			continue
		}
		if stored != nil {
			c.failf("two of the batches were stored")
		}
		stored = c.outcomes(racing[i], r)
		for j := range stored {
			c.isNew(racing[i], j, stored[j])
		}
	}
	if stored == nil {
		c.failf("none of the batches was stored")
	}
	return stored, refused
}

func checkRaceOverlap(c *check) {
	for range races {
		c.raceOverlap()
	}
}

func (c *check) raceOverlap() {
	const references = 20
	s := c.open()
	forward := referenced("r", references)
	backward := slices.Clone(forward)
	slices.Reverse(backward)
	var racing []chargeingest.Batch
	for i := range references {
		racing = append(racing,
			batch(acme, slices.Concat(forward[i:], forward[:i])...),
			batch(acme, slices.Concat(backward[i:], backward[:i])...))
	}
	results := s.race(racing)
	first := make(map[string]string) // reference → id
	stored := make(map[string]bool)  // reference → answered as new
	for i, r := range results {
		for j, o := range c.outcomes(racing[i], r) {
			reference := racing[i].Events[j].Reference
			if id, ok := first[reference]; ok && id != o.ID {
				c.failf("reference %s was answered as %s and as %s", reference, id, o.ID)
			}
			first[reference] = o.ID
			if !o.Replayed {
				if stored[reference] {
					c.failf("reference %s was stored twice", reference)
				}
				stored[reference] = true
			}
		}
	}
	equal(c, "the number of references stored", len(stored), references)
	if s.reader != nil {
		equal(c, "the number of events listed", len(s.pages(chargeingest.Query{Platform: acme})), references)
	}
}

func checkReadOwnWrites(c *check) {
	s := c.openReader()
	ctx := c.Context()
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := range 10 {
				reference := fmt.Sprintf("%d-%d", i, n)
				receipt, err := s.Append(ctx, batch(acme, draft{reference: reference}))
				if err != nil {
					errs[i] = errors.Join(errs[i], err)
					continue
				}
				id := receipt.Outcomes[0].ID
				if _, err := s.reader.Get(ctx, acme, id); err != nil {
					errs[i] = errors.Join(errs[i], fmt.Errorf("Get of %s: %w", id, err))
				}
				page, err := s.reader.List(ctx, chargeingest.Query{Platform: acme, Reference: reference, Limit: 1})
				if err != nil {
					errs[i] = errors.Join(errs[i], fmt.Errorf("List of %s: %w", id, err))
				} else if !slices.Equal(ids(page.Events), []string{id}) {
					errs[i] = errors.Join(errs[i], fmt.Errorf("List of %s returned %v", id, ids(page.Events)))
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.failf("%v", err)
	}
}
