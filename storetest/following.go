package storetest

import (
	"fmt"
	"slices"
	"sync"

	"example.com/chargeingest"
)

func followingCases() []testCase {
	return []testCase{
		{"who follows Position while others append sees each event once and in order", checkFollow},
		{"who pages by Next and goes on from Position sees each event once and in order", checkFollowByNext},
		{"who follows a filter sees each of its events once and in order", checkFollowFilter},
		{"who pages down while others append sees each event that was there once and in order", checkPageDown},
	}
}

// flood is 32 goroutines that append to three platforms.
type flood struct {
	batches [][]chargeingest.Batch // per writer
	results [][]result
	done    chan struct{}
}

const writers = 32

func (s *subject) flood() *flood {
	f := &flood{
		batches: make([][]chargeingest.Batch, writers),
		results: make([][]result, writers),
		done:    make(chan struct{}),
	}
	for w := range writers {
		for n := range 6 {
			drafts := referenced(fmt.Sprintf("%d-%d", w, n), 1+n%3)
			drafts[0].customerID = []string{"c", "d"}[n%2]
			platform := []string{acme, globex, acme, "initech"}[(w+n)%4]
			f.batches[w] = append(f.batches[w], batch(platform, drafts...))
		}
	}
	ctx := s.c.Context()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for _, b := range f.batches[w] {
				receipt, err := s.Append(ctx, b)
				f.results[w] = append(f.results[w], result{receipt, err})
			}
		})
	}
	go func() {
		wg.Wait()
		close(f.done)
	}()
	return f
}

// over says whether every writer has ended.
func (f *flood) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wait returns when every writer has ended.
func (f *flood) wait() { <-f.done }

// stored waits for the writers and returns the ids of what they stored on a
// platform, in the order of storing; with a customer, of its events only.
func (f *flood) stored(c *check, platform, customerID string) []string {
	c.Helper()
	f.wait()
	var stored []string
	for w, results := range f.results {
		for n, r := range results {
			b := f.batches[w][n]
			for i, o := range c.outcomes(b, r) {
				if b.Platform == platform && (customerID == "" || b.Events[i].CustomerID == customerID) {
					stored = append(stored, o.ID)
				}
			}
		}
	}
	slices.Sort(stored)
	return stored
}

// follow reads a listing until the flood is over and nothing more comes. From
// each page it goes on from the cursor that next returns.
func (s *subject) follow(q chargeingest.Query, f *flood, next func(chargeingest.Page) string) []string {
	s.c.Helper()
	seen := make(map[string]bool)
	var order []string
	for {
		over := f.over() // before the page is read, so that it is the last
		page := s.list(q)
		for _, e := range page.Events {
			if seen[e.ID] {
				s.c.failf("the event %s came twice", e.ID)
			}
			seen[e.ID] = true
			order = append(order, e.ID)
		}
		if over && len(page.Events) == 0 {
			return order
		}
		q.After = next(page)
	}
}

func byPosition(p chargeingest.Page) string { return p.Position }

func byNext(p chargeingest.Page) string {
	if p.Next != "" {
		return p.Next
	}
	return p.Position
}

func checkFollow(c *check) {
	s := c.openReader()
	f := s.flood()
	defer f.wait()
	seen := s.follow(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 5}, f, byPosition)
	equalList(c, "the ids that a follower saw", seen, f.stored(c, acme, ""))
}

func checkFollowByNext(c *check) {
	s := c.openReader()
	f := s.flood()
	defer f.wait()
	q := chargeingest.Query{Platform: globex, Order: chargeingest.Ascending, Limit: 3}
	equalList(c, "the ids that a follower saw", s.follow(q, f, byNext), f.stored(c, globex, ""))
	equalList(c, "the ids listed in the end", ids(s.pages(q)), f.stored(c, globex, ""))
}

func checkFollowFilter(c *check) {
	s := c.openReader()
	f := s.flood()
	defer f.wait()
	q := chargeingest.Query{Platform: acme, CustomerID: "c", Order: chargeingest.Ascending, Limit: 4}
	equalList(c, "the ids that a follower saw", s.follow(q, f, byPosition), f.stored(c, acme, "c"))
}

func checkPageDown(c *check) {
	s := c.openReader()
	there := outcomeIDs(s.fresh(batch(acme, make([]draft, 50)...)))
	slices.Reverse(there)
	f := s.flood()
	defer f.wait()
	for over := false; !over; {
		over = f.over()
		seen := ids(s.pages(chargeingest.Query{Platform: acme, Order: chargeingest.Descending, Limit: 7}))
		equalList(c, "the ids that a reader saw last", seen[max(0, len(seen)-len(there)):], there)
		slices.Reverse(seen)
		c.increasing(seen)
	}
}
