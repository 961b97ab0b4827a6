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
		{"under ReturnOriginal the contents that race for a reference are all answered with the one that is stored", checkRaceAcceptAll},
		{"of requests that race for a key one is stored and the others conflict", checkRaceRequests},
		{"batches that overlap in opposite orders all succeed and store each event once", checkRaceOverlap},
		{"what Append returned can be read at once", checkReadOwnWrites},
	}
}

// races is how often a race is run: a store that decides and inserts in two
// steps wins many of them. Each race has new platforms.
const races = 10

func racePlatforms() []string {
	platforms := make([]string, races)
	for i := range platforms {
		platforms[i] = fmt.Sprint(acme, i)
	}
	return platforms
}

func checkRaceReference(c *check) {
	s := c.open()
	for _, platform := range racePlatforms() {
		c.onlyOne(s, batch(platform, draft{reference: "a"}), batch(platform+globex, draft{reference: "a"}))
	}
}

func checkRaceKey(c *check) {
	s := c.open()
	for _, platform := range racePlatforms() {
		c.onlyOne(s, keyed("key", batch(platform, anonymous()...)), keyed("key", batch(platform+globex, anonymous()...)))
	}
}

// onlyOne races a hundred copies of batches for different platforms, and checks
// that each platform has its batch once.
func (c *check) onlyOne(s *subject, batches ...chargeingest.Batch) {
	c.Helper()
	racing := slices.Repeat(batches, 100/len(batches))
	results := s.race(racing)
	for first, b := range batches {
		var answers [][]chargeingest.Outcome
		for i := first; i < len(racing); i += len(batches) {
			answers = append(answers, c.outcomes(b, results[i]))
		}
		winner := slices.IndexFunc(answers, func(answer []chargeingest.Outcome) bool { return !answer[0].Replayed })
		if winner < 0 {
			c.failf("all of the sends were answered with a replay")
		}
		won := answers[winner]
		for i, answer := range answers {
			for j := range answer {
				if i == winner {
					c.isNew(b, j, answer[j])
				} else {
					c.isReplay(j, answer[j], won[j])
				}
			}
		}
		s.holds(b.Platform, won...)
	}
}

func checkRaceContents(c *check) {
	s := c.open()
	for _, platform := range racePlatforms() {
		racing := contents(platform)
		stored, refused := c.oneWins(racing, s.race(racing))
		for _, conflict := range refused {
			equal(c, "ConflictError.Key", conflict.IdempotencyKey, false)
			equal(c, "ConflictError.Index", conflict.Index, 1)
			equal(c, "ConflictError.EventID", conflict.EventID, stored[1].ID)
			equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
		}
		s.holds(platform, stored...)
	}
}

// contents returns batches that have another content each for one reference.
func contents(platform string) []chargeingest.Batch {
	racing := make([]chargeingest.Batch, 30)
	for i := range racing {
		racing[i] = batch(platform, draft{}, draft{reference: "a", number: fmt.Sprint(i)})
	}
	return racing
}

func checkRaceAcceptAll(c *check) {
	s := c.open()
	for _, platform := range racePlatforms() {
		racing := contents(platform)
		for i := range racing {
			racing[i] = returnOriginal(racing[i])
		}
		results := s.race(racing)
		winner := slices.IndexFunc(results, func(r result) bool { return r.err == nil && !r.receipt.Outcomes[1].Replayed })
		if winner < 0 {
			c.failf("none of the contents was stored")
		}
		won := results[winner].receipt.Outcomes[1]
		for i, r := range results {
			outcomes := c.outcomes(racing[i], r)
			c.isNew(racing[i], 0, outcomes[0])
			if i != winner {
				c.isReplay(1, outcomes[1], won)
			}
		}
		if s.reader != nil {
			events := s.list(chargeingest.Query{Platform: platform, Reference: "a"}).Events
			c.sameEvents("what has the reference", events, []chargeingest.StoredEvent{won.StoredEvent})
		}
	}
}

func checkRaceRequests(c *check) {
	s := c.open()
	for _, platform := range racePlatforms() {
		var racing []chargeingest.Batch
		for i := range 30 {
			racing = append(racing, keyed("key", batch(platform, draft{number: fmt.Sprint(i)}, draft{})))
		}
		stored, refused := c.oneWins(racing, s.race(racing))
		for _, conflict := range refused {
			equal(c, "ConflictError.Key", conflict.IdempotencyKey, true)
		}
		s.holds(platform, stored...)
	}
}

// oneWins returns the outcomes of the one successful batch, and the conflicts of the
// others.
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
	for _, platform := range racePlatforms() {
		for i := range racing {
			racing[i].Platform = platform
		}
		results := s.race(racing)
		first := make(map[string]string) // reference → id
		stored := make(map[string]bool)  // reference → returned as new
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
			equal(c, "the number of events listed", len(s.pages(chargeingest.Query{Platform: platform})), references)
		}
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
