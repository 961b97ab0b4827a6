package storetest

import (
	"context"
	"sync"
	"time"

	"example.com/chargeingest"
)

func followingFaults() []fault {
	return []fault{
		{"pages miss the last event", func(s *store) {
			s.onPage(func(_ chargeingest.Query, p *chargeingest.Page) { p.Events = p.Events[:max(0, len(p.Events)-1)] })
		}, []string{
			"every page but the last is full, and only the last has an empty Next",
			"following Position during appends returns each event once and in order",
			"following Next and then Position during appends returns each event once and in order",
			"following a filter during appends returns each matching event once and in order",
			"paging in descending order during appends returns each earlier event once and in order",
		}},
		{"Position skips an event that is committed later", commitLate, []string{
			"following Position during appends returns each event once and in order",
			"following Next and then Position during appends returns each event once and in order",
			"following a filter during appends returns each matching event once and in order",
		}},
		{"Position does not advance", freezePosition, []string{
			"following Position during appends returns each event once and in order",
			"Position leads to the events stored later and to no others",
		}},
		positionReadLater("Position is read after the events with CustomerReference", func(q chargeingest.Query) bool { return q.CustomerReference != "" }),
		positionReadLater("Position is read after the events with From", func(q chargeingest.Query) bool { return q.From != nil }),
		positionReadLater("Position is read after the events with ProductItemID", func(q chargeingest.Query) bool { return q.ProductItemID != "" }),
	}
}

func freezePosition(s *store) {
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

// commitLate hides the first event until a cursor has skipped it.
func commitLate(s *store) {
	var mu sync.Mutex
	late := make(map[string]string) // ids by platform
	s.onPage(func(q chargeingest.Query, p *chargeingest.Page) {
		mu.Lock()
		defer mu.Unlock()
		if len(p.Events) > 0 && late[q.Platform] == "" {
			late[q.Platform] = p.Events[0].ID
			p.Events = p.Events[1:]
		}
	})
}

func positionReadLater(name string, match func(chargeingest.Query) bool) fault {
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
	}, []string{"following a filter during appends returns each matching event once and in order"}}
}
