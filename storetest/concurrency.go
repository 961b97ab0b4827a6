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
		{"of 100 concurrent sends of one event, one stores it and the others replay it", checkRaceReference},
		{"of 100 concurrent sends of one request with a key, one stores it and the others replay it", checkRaceKey},
		{"of concurrent events with one reference, one is stored and the others conflict", checkRaceContents},
		{"under ReturnOriginal, concurrent events with one reference all return the stored one", checkRaceReturnOriginal},
		{"of concurrent requests with one key, one is stored and the others conflict", checkRaceRequests},
		{"overlapping batches in opposite orders all succeed and store each event once", checkRaceOverlap},
		{"events can be read as soon as Append returns", checkReadOwnWrites},
	}
}

// raceRounds repeats each race, which a store can pass once by chance.
const raceRounds = 10

func racePlatforms() []string {
	platforms := make([]string, raceRounds)
	for i := range platforms {
		platforms[i] = fmt.Sprint(acme, i)
	}
	return platforms
}

func checkRaceReference(c *check) {
	s := c.newTestedStore()
	for _, platform := range racePlatforms() {
		c.wantStoredOnce(s, batch(platform, draft{reference: "a"}), batch(platform+globex, draft{reference: "a"}))
	}
}

func checkRaceKey(c *check) {
	s := c.newTestedStore()
	for _, platform := range racePlatforms() {
		c.wantStoredOnce(s, keyed("key", batch(platform, keyedOnly()...)), keyed("key", batch(platform+globex, keyedOnly()...)))
	}
}

func (c *check) wantStoredOnce(s *testedStore, batches ...chargeingest.Batch) {
	c.Helper()
	racing := slices.Repeat(batches, 100/len(batches))
	results := s.race(racing)
	for first, b := range batches {
		var outcomes [][]chargeingest.Outcome
		for i := first; i < len(racing); i += len(batches) {
			outcomes = append(outcomes, c.wantSuccess(b, results[i]))
		}
		winner := slices.IndexFunc(outcomes, func(got []chargeingest.Outcome) bool { return !got[0].Replayed })
		if winner < 0 {
			c.failf("every send returned a replay")
		}
		won := outcomes[winner]
		for i, got := range outcomes {
			for j := range got {
				if i == winner {
					c.wantNew(b, j, got[j])
				} else {
					c.wantReplay(j, got[j], won[j])
				}
			}
		}
		s.wantStored(b.Platform, won...)
	}
}

func checkRaceContents(c *check) {
	s := c.newTestedStore()
	for _, platform := range racePlatforms() {
		racing := conflictingBatches(platform)
		stored, rejected := c.wantOneStored(racing, s.race(racing))
		for _, conflict := range rejected {
			wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, false)
			wantEqual(c, "ConflictError.Index", conflict.Index, 1)
			wantEqual(c, "ConflictError.EventID", conflict.EventID, stored[1].ID)
			wantList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
		}
		s.wantStored(platform, stored...)
	}
}

func conflictingBatches(platform string) []chargeingest.Batch {
	racing := make([]chargeingest.Batch, 30)
	for i := range racing {
		racing[i] = batch(platform, draft{}, draft{reference: "a", number: fmt.Sprint(i)})
	}
	return racing
}

func checkRaceReturnOriginal(c *check) {
	s := c.newTestedStore()
	for _, platform := range racePlatforms() {
		racing := conflictingBatches(platform)
		for i := range racing {
			racing[i] = returnOriginal(racing[i])
		}
		results := s.race(racing)
		winner := slices.IndexFunc(results, func(r appendResult) bool { return r.err == nil && !r.result.Outcomes[1].Replayed })
		if winner < 0 {
			c.failf("no event was stored")
		}
		won := results[winner].result.Outcomes[1]
		for i, r := range results {
			outcomes := c.wantSuccess(racing[i], r)
			c.wantNew(racing[i], 0, outcomes[0])
			if i != winner {
				c.wantReplay(1, outcomes[1], won)
			}
		}
		if s.reader != nil {
			events := s.list(chargeingest.Query{Platform: platform, Reference: "a"}).Events
			c.wantEvents("events with the reference", events, []chargeingest.StoredEvent{won.StoredEvent})
		}
	}
}

func checkRaceRequests(c *check) {
	s := c.newTestedStore()
	for _, platform := range racePlatforms() {
		var racing []chargeingest.Batch
		for i := range 30 {
			racing = append(racing, keyed("key", batch(platform, draft{number: fmt.Sprint(i)}, draft{})))
		}
		stored, rejected := c.wantOneStored(racing, s.race(racing))
		for _, conflict := range rejected {
			wantEqual(c, "ConflictError.IdempotencyKey", conflict.IdempotencyKey, true)
		}
		s.wantStored(platform, stored...)
	}
}

func (c *check) wantOneStored(racing []chargeingest.Batch, results []appendResult) (stored []chargeingest.Outcome, rejected []*chargeingest.ConflictError) {
	c.Helper()
	for i, r := range results {
		if r.err != nil {
			rejected = append(rejected, c.wantConflict(r.err))
			continue
		}
		if stored != nil {
			c.failf("more than one batch was stored")
		}
		stored = c.wantSuccess(racing[i], r)
		for j := range stored {
			c.wantNew(racing[i], j, stored[j])
		}
	}
	if stored == nil {
		c.failf("no batch was stored")
	}
	return stored, rejected
}

func checkRaceOverlap(c *check) {
	const references = 20
	s := c.newTestedStore()
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
		first := make(map[string]string) // ids by reference
		stored := make(map[string]bool)  // references returned as new
		for i, r := range results {
			for j, o := range c.wantSuccess(racing[i], r) {
				reference := racing[i].Events[j].Reference
				if id, ok := first[reference]; ok && id != o.ID {
					c.failf("reference %s was returned as %s and as %s", reference, id, o.ID)
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
		wantEqual(c, "number of stored references", len(stored), references)
		if s.reader != nil {
			wantEqual(c, "number of listed events", len(s.pages(chargeingest.Query{Platform: platform})), references)
		}
	}
}

func checkReadOwnWrites(c *check) {
	s := c.newReader()
	ctx := c.Context()
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for n := range 10 {
				reference := fmt.Sprintf("%d-%d", i, n)
				result, err := s.Append(ctx, batch(acme, draft{reference: reference}))
				if err != nil {
					errs[i] = errors.Join(errs[i], err)
					continue
				}
				id := result.Outcomes[0].ID
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
