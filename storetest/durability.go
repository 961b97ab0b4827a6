package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/chargeingest"
)

func durabilityCases() []testCase {
	return []testCase{
		{"events survive reopening in storage order", checkReopenEvents},
		{"references survive reopening", checkReopenReferences},
		{"keys survive reopening", checkReopenKeys},
		{"cursors survive reopening", checkReopenCursors},
		{"ids keep increasing after reopening", checkReopenIDs},
		{"a store closed during appends keeps every acknowledged event", checkReopenUnderLoad},
	}
}

func (s *testedStore) reopen() *testedStore { return s.c.testedStore(s.c.reopen(s.EventStore)) }

func checkReopenEvents(c *check) {
	c.requireReopen()
	s := c.newReader()
	mine, theirs := s.seed(acme, mixedDrafts()...), s.seed(globex, mixedDrafts()...)
	for i := range 3 {
		s = s.reopen()
		for _, q := range queries(acme) {
			s.wantQuery(mine, q)
		}
		s.wantQuery(theirs, chargeingest.Query{Platform: globex})
		c.wantEvent("Get after reopening", s.get(acme, mine[0].stored.ID), mine[0].stored)
		c.wantNotFound(s, globex, mine[0].stored.ID)
		mine = append(mine, s.seed(acme, draft{number: fmt.Sprint(i)}, mixedDrafts()[i])...)
	}
}

func checkReopenReferences(c *check) {
	c.requireReopen()
	s := c.newTestedStore()
	d := draft{reference: "a", number: "1"}
	original := s.appendNew(batch(acme, d))
	theirs := s.appendNew(batch(globex, d))
	s = s.reopen()
	s.appendReplays(batch(acme, d), original...)
	s.appendReplays(batch(globex, d), theirs...)
	d.layout, d.received = reversed, received().Add(time.Hour)
	s.appendReplays(batch(acme, d), original...)
	conflict := s.appendConflict(batch(acme, draft{reference: "a", number: "2"}))
	wantEqual(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	wantList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.wantStored(acme, original...)
}

func checkReopenKeys(c *check) {
	c.requireReopen()
	s := c.newTestedStore()
	drafts := append(keyedOnly(), draft{reference: "a"}, draft{reference: "a"})
	b := keyed("key", batch(acme, drafts...))
	originals := s.append(b)
	other := returnOriginal(keyed("accepted", batch(acme, draft{reference: "a", number: "9"})))
	s.appendReplays(other, originals[3])
	s = s.reopen()
	s.appendReplays(b, originals...)
	s.appendReplays(other, originals[3])
	s.appendKeyConflict(returnOriginal(keyed("accepted", batch(acme, drafts[3]))))
	s.appendKeyConflict(keyed("key", batch(acme, drafts[1:]...)))
	b.Route = chargeingest.RouteSingle
	s.appendKeyConflict(b)
	s.appendNew(keyed("key", batch(globex, drafts[:3]...)))
	s.wantStored(acme, originals[:4]...)
}

func checkReopenCursors(c *check) {
	c.requireReopen()
	s := c.newReader()
	events := s.seedPlatforms()
	all := queries(acme)
	afterOne := make([]string, len(all))
	for i, q := range all {
		q.Limit = 1
		page := s.list(q)
		afterOne[i] = cmp.Or(page.Next, page.Position)
	}
	s = s.reopen()
	later := s.seed(acme, draft{}, mixedDrafts()[0])
	for i, q := range all {
		want := selected(events, q)
		want = want[min(1, len(want)):]
		if q.Order == chargeingest.Ascending {
			want = append(want, selected(later, q)...)
		}
		if q.After = afterOne[i]; q.After != "" {
			c.wantEvents("events after a cursor of "+describe(q), s.pages(q), want)
		}
	}
}

func checkReopenIDs(c *check) {
	c.requireReopen()
	s := c.newTestedStore()
	var stored []chargeingest.Outcome
	for i := range 5 {
		d := draft{received: received().AddDate(0, 0, -i)}
		stored = append(stored, s.appendNew(batch(acme, d, d))...)
		stored = append(stored, s.appendNew(batch(globex, d))...)
		s = s.reopen()
	}
	c.wantIncreasing(outcomeIDs(stored))
}

func checkReopenUnderLoad(c *check) {
	c.requireReopen()
	s := c.newTestedStore()
	ctx := c.Context()
	sent := make([][]chargeingest.Batch, 8)
	results := make([][]appendResult, len(sent))
	acknowledged := make(chan struct{}, len(sent)*100)
	var wg sync.WaitGroup
	for w := range sent {
		sent[w] = mixedRequests(fmt.Sprint(w), 100)
		wg.Go(func() {
			for _, b := range sent[w] {
				result, err := s.Append(ctx, b)
				results[w] = append(results[w], appendResult{result, err})
				if err != nil {
					return
				}
				acknowledged <- struct{}{}
			}
		})
	}
	go func() {
		wg.Wait()
		close(acknowledged)
	}()
	for range 40 {
		<-acknowledged
	}
	again := s.reopen()
	wg.Wait()
	var batches []chargeingest.Batch
	for w := range sent {
		batches = append(batches, sent[w][:len(results[w])]...)
	}
	again.wantRetriesResolved(batches, slices.Concat(results...))
}
