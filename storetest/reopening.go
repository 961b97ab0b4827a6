package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/chargeingest"
)

func reopeningCases() []testCase {
	return []testCase{
		{"events outlive their store, in the order of storing", checkReopenEvents},
		{"references outlive their store", checkReopenReferences},
		{"keys outlive their store", checkReopenKeys},
		{"cursors outlive their store", checkReopenCursors},
		{"ids still increase after reopening", checkReopenIDs},
		{"a store that is closed while events come in keeps what it acknowledged", checkReopenUnderLoad},
	}
}

// reopened closes the store and returns one with its data.
func (s *subject) reopened() *subject { return s.c.subject(s.c.reopen(s.EventStore)) }

func checkReopenEvents(c *check) {
	c.needReopen()
	s := c.openReader()
	var stored []chargeingest.Outcome
	for i := range 5 {
		stored = append(stored, s.fresh(batch(acme, draft{number: fmt.Sprint(i)}, shared()))...)
		other := s.fresh(batch(globex, draft{}))
		s = s.reopened()
		s.holds(acme, stored...)
		c.sameEvent("Get after reopening", s.get(globex, other[0].ID), other[0].StoredEvent)
		c.sameEvent("Get after reopening", s.get(acme, stored[0].ID), stored[0].StoredEvent)
		c.notFound(s, globex, stored[0].ID)
		equalList(c, "ids by a filter after reopening", ids(s.pages(chargeingest.Query{Platform: acme, CustomerID: "c", Order: chargeingest.Ascending})), every2nd(stored))
	}
}

func checkReopenReferences(c *check) {
	c.needReopen()
	s := c.open()
	d := draft{reference: "a", number: "1"}
	original := s.fresh(batch(acme, d))
	theirs := s.fresh(batch(globex, d))
	s = s.reopened()
	s.replayed(batch(acme, d), original...)
	s.replayed(batch(globex, d), theirs...)
	d.layout, d.received = reversed, received().Add(time.Hour)
	s.replayed(batch(acme, d), original...)
	conflict := s.conflict(batch(acme, draft{reference: "a", number: "2"}))
	equal(c, "ConflictError.EventID", conflict.EventID, original[0].ID)
	equalList(c, "ConflictError.Fields", conflict.Fields, []string{"value.number"})
	s.holds(acme, original...)
}

func checkReopenKeys(c *check) {
	c.needReopen()
	s := c.open()
	drafts := append(anonymous(), draft{reference: "a"}, draft{reference: "a"})
	b := keyed("key", batch(acme, drafts...))
	originals := s.append(b)
	s = s.reopened()
	s.replayed(b, originals...)
	s.keyConflict(keyed("key", batch(acme, drafts[1:]...)))
	b.Route = chargeingest.RouteSingle
	s.keyConflict(b)
	s.fresh(keyed("key", batch(globex, drafts[:3]...)))
	s.holds(acme, originals[:4]...)
}

func checkReopenCursors(c *check) {
	c.needReopen()
	s := c.openReader()
	stored := outcomeIDs(s.fresh(batch(acme, make([]draft, 6)...)))
	up := chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 2}
	down := chargeingest.Query{Platform: acme, Order: chargeingest.Descending, Limit: 2}
	end := chargeingest.Query{Platform: acme, Order: chargeingest.Ascending}
	up.After, down.After, end.After = s.list(up).Next, s.list(down).Next, s.list(end).Position
	s = s.reopened()
	later := outcomeIDs(s.fresh(batch(acme, draft{})))
	equalList(c, "the ids behind Next", ids(s.list(up).Events), stored[2:4])
	equalList(c, "the ids behind Position", ids(s.list(end).Events), later)
	before := ids(s.list(down).Events)
	slices.Reverse(before)
	equalList(c, "the ids behind a descending Next, ascending", before, stored[2:4])
}

func checkReopenIDs(c *check) {
	c.needReopen()
	s := c.open()
	var stored []chargeingest.Outcome
	for i := range 5 {
		// The clock steps back while the store is closed.
		d := draft{received: received().AddDate(0, 0, -i)}
		stored = append(stored, s.fresh(batch(acme, d, d))...)
		stored = append(stored, s.fresh(batch(globex, d))...)
		s = s.reopened()
	}
	c.increasing(outcomeIDs(stored))
}

func checkReopenUnderLoad(c *check) {
	c.needReopen()
	s := c.open()
	ctx := c.Context()
	sent := make([][]chargeingest.Batch, 8)
	results := make([][]result, len(sent))
	acknowledged := make(chan struct{}, len(sent)*100)
	var wg sync.WaitGroup
	for w := range sent {
		sent[w] = requests(fmt.Sprint(w), 100)
		wg.Go(func() {
			for _, b := range sent[w] {
				receipt, err := s.Append(ctx, b)
				results[w] = append(results[w], result{receipt, err})
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
	again := s.reopened()
	wg.Wait()
	var batches []chargeingest.Batch
	for w := range sent {
		batches = append(batches, sent[w][:len(results[w])]...)
	}
	again.settle(batches, slices.Concat(results...))
}

// every2nd returns the ids of the second outcome, the fourth and so on.
func every2nd(outcomes []chargeingest.Outcome) []string {
	var list []string
	for i := 1; i < len(outcomes); i += 2 {
		list = append(list, outcomes[i].ID)
	}
	return list
}
