package storetest

import (
	"context"
	"sync"
	"time"

	"example.com/chargeingest"
)

func followingFaults() []fault {
	return []fault{
		{"a page loses its last event", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Events = p.Events[:max(0, len(p.Events)-1)] })
		}, []string{
			"pages are full up to the last and Next is empty where nothing more is there",
			"who follows Position while others append sees each event once and in order",
			"who pages by Next and goes on from Position sees each event once and in order",
			"who follows a filter sees each of its events once and in order",
			"who pages down while others append sees each event that was there once and in order",
		}},
		{"Position passes an event that is committed later", commitLate, []string{
			"who follows Position while others append sees each event once and in order",
			"who pages by Next and goes on from Position sees each event once and in order",
			"who follows a filter sees each of its events once and in order",
		}},
		{"Position does not move", standStill, []string{
			"who follows Position while others append sees each event once and in order",
			"Position leads to what is stored later and to nothing else",
		}},
		readLast("Position by CustomerReference is read after the events", func(q chargeingest.Query) bool { return q.CustomerReference != "" }),
		readLast("Position within a From is read after the events", func(q chargeingest.Query) bool { return q.From != nil }),
		readLast("Position of a scan is read after the events", func(q chargeingest.Query) bool { return q.ProductItemID != "" }),
	}
}

// standStill gives each listing the Position that its first page had.
func standStill(s *store) {
	first := make(map[string]string) // by customer
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		if q.Order != chargeingest.Ascending {
			return
		}
		if _, ok := first[q.CustomerID]; !ok {
			first[q.CustomerID] = p.Position
		}
		p.Position = first[q.CustomerID]
	})
}

// commitLate shows the first event of a platform only once a cursor has passed
// it, as a store does that numbers events before it commits them.
func commitLate(s *store) {
	var mu sync.Mutex
	late := make(map[string]string) // platform → id
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		mu.Lock()
		defer mu.Unlock()
		if len(p.Events) > 0 && late[q.Platform] == "" {
			late[q.Platform] = p.Events[0].ID
			p.Events = p.Events[1:]
		}
	})
}

// readLast reads the events of a page and its Position in two transactions.
func readLast(name string, match func(chargeingest.Query) bool) fault {
	return fault{name, func(s *store) {
		s.onAppend(func(ctx context.Context, b chargeingest.Batch, next appendFunc) (chargeingest.AppendResult, error) {
			time.Sleep(time.Microsecond)
			return next(ctx, b)
		})
		s.onList(func(ctx context.Context, q chargeingest.Query, next listFunc) (chargeingest.Page, error) {
			time.Sleep(time.Microsecond)
			page, err := next(ctx, q)
			if err != nil || page.Next != "" || page.Position == "" || !match(q) {
				return page, err
			}
			time.Sleep(time.Microsecond)
			end, err := next(ctx, chargeingest.Query{Platform: q.Platform, Order: q.Order, Limit: 100_000})
			page.Position = end.Position
			return page, err
		})
	}, []string{"who follows a filter sees each of its events once and in order"}}
}
