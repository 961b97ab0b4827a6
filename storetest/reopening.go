package storetest

import (
	"cmp"
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
	mine, theirs := s.stock(acme, crowd()...), s.stock(globex, crowd()...)
	for i := range 3 {
		s = s.reopened()
		for _, q := range queries(acme) {
			s.selects(mine, q)
		}
		s.selects(theirs, chargeingest.Query{Platform: globex})
		c.sameEvent("Get after reopening", s.get(acme, mine[0].stored.ID), mine[0].stored)
		c.notFound(s, globex, mine[0].stored.ID)
		mine = append(mine, s.stock(acme, draft{number: fmt.Sprint(i)}, crowd()[i])...)
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
	other := returnOriginal(keyed("accepted", batch(acme, draft{reference: "a", number: "9"})))
	s.replayed(other, originals[3])
	s = s.reopened()
	s.replayed(b, originals...)
	s.replayed(other, originals[3])
	s.keyConflict(returnOriginal(keyed("accepted", batch(acme, drafts[3]))))
	s.keyConflict(keyed("key", batch(acme, drafts[1:]...)))
	b.Route = chargeingest.RouteSingle
	s.keyConflict(b)
	s.fresh(keyed("key", batch(globex, drafts[:3]...)))
	s.holds(acme, originals[:4]...)
}

func checkReopenCursors(c *check) {
	c.needReopen()
	s := c.openReader()
	events := s.stockBoth()
	all := queries(acme)
	afterOne := make([]string, len(all))
	for i, q := range all {
		q.Limit = 1
		page := s.list(q)
		afterOne[i] = cmp.Or(page.Next, page.Position)
	}
	s = s.reopened()
	later := s.stock(acme, draft{}, crowd()[0])
	for i, q := range all {
		want := selected(events, q)
		want = want[min(1, len(want)):]
		if q.Order == chargeingest.Ascending {
			want = append(want, selected(later, q)...)
		}
		if q.After = afterOne[i]; q.After != "" {
			c.sameEvents("what is behind a cursor of "+describe(q), s.pages(q), want)
		}
	}
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
