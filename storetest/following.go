package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/chargeingest"
)

func followingCases() []testCase {
	return []testCase{
		{"following Position during appends returns each event once and in order", checkFollow},
		{"following Next and then Position during appends returns each event once and in order", checkFollowByNext},
		{"following a filter during appends returns each matching event once and in order", checkFollowFilter},
		{"paging in descending order during appends returns each earlier event once and in order", checkPageDescending},
	}
}

type writers struct {
	batches  [][]chargeingest.Batch // by writer
	results  [][]appendResult
	finished chan struct{}
}

const writerCount = 32

func (s *testedStore) startWriters() *writers {
	ws := &writers{
		batches:  make([][]chargeingest.Batch, writerCount),
		results:  make([][]appendResult, writerCount),
		finished: make(chan struct{}),
	}
	matching, other := matchingDraft(), mixedDrafts()[1]
	for w := range writerCount {
		for n := range 6 {
			drafts := [][]draft{{matching}, {other}, {matching, other}}[n%3]
			for i := range drafts {
				drafts[i].reference = fmt.Sprintf("%d-%d-%d", w, n, i)
			}
			platform := []string{acme, globex, acme, "initech"}[(w+n)%4]
			ws.batches[w] = append(ws.batches[w], batch(platform, drafts...))
		}
	}
	ctx := s.c.Context()
	var wg sync.WaitGroup
	for w := range writerCount {
		wg.Go(func() {
			for _, b := range ws.batches[w] {
				result, err := s.Append(ctx, b)
				ws.results[w] = append(ws.results[w], appendResult{result, err})
			}
		})
	}
	go func() {
		wg.Wait()
		close(ws.finished)
	}()
	return ws
}

func (ws *writers) done() bool {
	select {
	case <-ws.finished:
		return true
	default:
		return false
	}
}

func (ws *writers) wait() { <-ws.finished }

func (ws *writers) stored(c *check, platform string) []seeded {
	c.Helper()
	ws.wait()
	var stored []seeded
	for w, results := range ws.results {
		for n, r := range results {
			b := ws.batches[w][n]
			for i, o := range c.wantSuccess(b, r) {
				if b.Platform == platform {
					stored = append(stored, seeded{o.StoredEvent, b.Events[i]})
				}
			}
		}
	}
	slices.SortFunc(stored, func(a, b seeded) int { return strings.Compare(a.stored.ID, b.stored.ID) })
	return stored
}

// wantFollowers follows each query until the writers are done. next returns the cursor
// to continue from.
func (s *testedStore) wantFollowers(ws *writers, next func(chargeingest.Page) string, queries ...chargeingest.Query) {
	s.c.Helper()
	ctx := s.c.Context()
	seen := make([][]chargeingest.StoredEvent, len(queries))
	errs := make([]error, len(queries))
	var wg sync.WaitGroup
	for i, q := range queries {
		wg.Go(func() { seen[i], errs[i] = s.follow(ctx, ws, next, q) })
	}
	wg.Wait()
	for i, q := range queries {
		if errs[i] != nil {
			s.c.failf("%s: %v", describe(q), errs[i])
		}
		s.c.wantEvents("events of a follower of "+describe(q), seen[i], selected(ws.stored(s.c, q.Platform), q))
	}
}

func (s *testedStore) follow(ctx context.Context, ws *writers, next func(chargeingest.Page) string, q chargeingest.Query) ([]chargeingest.StoredEvent, error) {
	seen := make(map[string]bool)
	var events []chargeingest.StoredEvent
	for {
		over := ws.done() // before List, so that an empty page is the end
		page, err := s.reader.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("List returned error: %w", err)
		}
		for _, e := range page.Events {
			if seen[e.ID] {
				return nil, fmt.Errorf("List returned event %s twice", e.ID)
			}
			seen[e.ID] = true
			events = append(events, e)
		}
		if over && len(page.Events) == 0 {
			return events, nil
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
	s := c.newReader()
	ws := s.startWriters()
	defer ws.wait()
	s.wantFollowers(ws, byPosition, chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 5})
}

func checkFollowByNext(c *check) {
	s := c.newReader()
	ws := s.startWriters()
	defer ws.wait()
	q := chargeingest.Query{Platform: globex, Order: chargeingest.Ascending, Limit: 3}
	s.wantFollowers(ws, byNext, q)
	s.wantQuery(ws.stored(c, globex), q)
}

func checkFollowFilter(c *check) {
	s := c.newReader()
	ws := s.startWriters()
	defer ws.wait()
	e := matchingDraft().newEvent()
	from, to := &e.Timestamp, new(e.Timestamp.Add(time.Second))
	filtered := []chargeingest.Query{
		{Reference: "0-0-0"},
		{CustomerID: e.CustomerID},
		{CustomerReference: e.CustomerReference},
		{PricingPlanSubscriptionID: e.PricingPlanSubscriptionID},
		{PricingPlanSubscriptionReference: e.PricingPlanSubscriptionReference},
		{ProductItemID: e.ProductItemID},
		{From: from},
		{To: to},
		{From: from, To: to, CustomerReference: e.CustomerReference},
	}
	for i := range filtered {
		q := &filtered[i]
		q.Platform, q.Order, q.Limit = acme, chargeingest.Ascending, 50
	}
	s.wantFollowers(ws, byPosition, filtered...)
}

func checkPageDescending(c *check) {
	s := c.newReader()
	unique := matchingDraft()
	unique.reference = ""
	earlier := s.seed(acme, slices.Repeat([]draft{unique, {}}, 25)...)
	ws := s.startWriters()
	defer ws.wait()
	queries := []chargeingest.Query{{}, {CustomerID: unique.customerID}, {CustomerReference: unique.customerReference}, {ProductItemID: unique.productItemID}}
	for n, over := 0, false; !over || n < len(queries); n++ {
		over = ws.done()
		q := queries[n%len(queries)]
		q.Platform, q.Limit = acme, 7
		seen, want := s.pages(q), selected(earlier, q)
		c.wantEvents("the earlier events in "+describe(q), seen[max(0, len(seen)-len(want)):], want)
		slices.Reverse(seen)
		c.wantIncreasing(ids(seen))
	}
}
