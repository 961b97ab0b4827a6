package storetest

import (
	"errors"
	"math"
	"regexp"
	"slices"

	"example.com/chargeingest"
)

func pagingCases() []testCase {
	return []testCase{
		{"pages are full up to the last and Next is empty where nothing more is there", checkPages},
		{"an ascending page always has a Position and a descending one never", checkPositions},
		{"Position leads to what is stored later and to nothing else", checkPositionContinues},
		{"a page has no more content than MaxBytes, or one event", checkMaxBytes},
		{"a cursor can be used again, also with another Limit", checkCursorAgain},
		{"cursors are of URL-safe characters", checkCursorForm},
		{"a cursor that is malformed is ErrInvalidCursor", checkBadCursor},
		{"a cursor of a store that has more events is ErrInvalidCursor", checkCursorAhead},
	}
}

// stockBoth stores a crowd on two platforms and returns that of acme.
func (s *subject) stockBoth() []known {
	s.c.Helper()
	s.stock(globex, crowd()...)
	events := s.stock(acme, crowd()...)
	s.stock("initech", crowd()...)
	return events
}

func checkPages(c *check) {
	s := c.openReader()
	events := s.stockBoth()
	for _, q := range queries(acme) {
		want := selected(events, q)
		limits := []int{1, 2, len(want) - 1, len(want), len(want) + 1, math.MaxInt}
		slices.Sort(limits)
		for _, q.Limit = range slices.Compact(limits) {
			if q.Limit > 0 {
				s.pageBy(q, want)
			}
		}
	}
}

// pageBy reads a listing by Next and checks its pages one by one: they are full
// unless MaxBytes ends them.
func (s *subject) pageBy(q chargeingest.Query, want []chargeingest.StoredEvent) {
	s.c.Helper()
	for {
		page := s.list(q)
		full := min(q.Limit, len(want))
		if q.MaxBytes > 0 && len(page.Events) > 0 {
			full = min(full, len(page.Events))
			s.withinBytes(q, page)
		}
		s.c.sameEvents("a page of "+describe(q), page.Events, want[:full])
		want = want[full:]
		if len(want) == 0 {
			equal(s.c, "Next behind the last page of "+describe(q), page.Next, "")
			return
		}
		if page.Next == "" {
			s.c.failf("Next is empty and %d events are still to come, in %s", len(want), describe(q))
		}
		if q.Order == chargeingest.Ascending {
			equal(s.c, "Position of a page with a Next", page.Position, page.Next)
		}
		q.After = page.Next
	}
}

func (s *subject) withinBytes(q chargeingest.Query, page chargeingest.Page) {
	s.c.Helper()
	size := 0
	for _, e := range page.Events {
		size += len(e.Content)
	}
	if size > q.MaxBytes && len(page.Events) > 1 {
		s.c.failf("%d events of %d bytes are on a page of %s", len(page.Events), size, describe(q))
	}
}

func checkMaxBytes(c *check) {
	s := c.openReader()
	events := s.stockBoth()
	two := len(events[0].stored.Content) + len(events[1].stored.Content)
	for _, q := range queries(acme) {
		q.Limit = 3
		for _, q.MaxBytes = range []int{1, two, math.MaxInt} {
			s.pageBy(q, selected(events, q))
		}
	}
}

func checkPositions(c *check) {
	s := c.openReader()
	for _, stock := range []bool{false, true} {
		if stock {
			s.stockBoth()
		}
		for _, q := range queries(acme) {
			for _, q.Limit = range []int{1, 100} {
				page := s.list(q)
				if has := page.Position != ""; has != (q.Order == chargeingest.Ascending) {
					c.failf("Position of a page of %d events is %q, in %s", len(page.Events), page.Position, describe(q))
				}
			}
		}
	}
}

// checkPositionContinues follows every ascending query from the empty store on.
func checkPositionContinues(c *check) {
	s := c.openReader()
	s.stock(globex, crowd()...)
	following := slices.DeleteFunc(queries(acme), func(q chargeingest.Query) bool { return q.Order != chargeingest.Ascending })
	unique := shared()
	unique.reference = ""
	for _, drafts := range [][]draft{{}, crowd(), {{customerID: "d"}}, {unique, unique}, {}} {
		var later []known
		if len(drafts) > 0 {
			later = s.stock(acme, drafts...)
			s.stock(globex, unique)
		}
		for i := range following {
			q := &following[i]
			q.Limit = 2
			s.continues(q, selected(later, *q))
		}
	}
}

// continues reads from Position to Position until a page is empty.
func (s *subject) continues(q *chargeingest.Query, want []chargeingest.StoredEvent) {
	s.c.Helper()
	for {
		page := s.list(*q)
		full := min(q.Limit, len(want))
		s.c.sameEvents("the page behind a Position of "+describe(*q), page.Events, want[:full])
		want = want[full:]
		q.After = page.Position
		if full == 0 {
			return
		}
	}
}

func checkCursorAgain(c *check) {
	s := c.openReader()
	events := s.stockBoth()
	all := queries(acme)
	for i := range all {
		q := &all[i]
		q.Limit = 1
		q.After = s.list(*q).Next
	}
	for _, limit := range []int{1, 2} {
		s.fresh(batch(acme, crowd()[1]))
		for _, q := range all {
			want := selected(events, q)
			if q.Limit = limit; q.After != "" && len(want) > limit {
				s.c.sameEvents("the second page of "+describe(q), s.list(q).Events, want[1:1+limit])
			}
		}
	}
}

func checkCursorForm(c *check) {
	form := regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	s := c.openReader()
	for range 4 {
		for _, q := range []chargeingest.Query{
			{Platform: acme, Order: chargeingest.Ascending, Limit: 1},
			{Platform: acme, Order: chargeingest.Descending, Limit: 1},
		} {
			page := s.list(q)
			for _, cursor := range []string{page.Next, page.Position} {
				if cursor != "" && !form.MatchString(cursor) {
					c.failf("the cursor %q", cursor)
				}
			}
		}
		s.fresh(batch(acme, make([]draft, 100)...))
	}
}

func checkBadCursor(c *check) {
	s := c.openReader()
	s.stockBoth()
	good := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 1}).Next
	bad := []string{"?", " ", "%00", "\x00", "ä", "' OR 1=1 --", "{}", good + "!", " " + good, good + "\n"}
	for _, order := range orders() {
		for _, after := range bad {
			s.badCursor(chargeingest.Query{Platform: acme, Order: order, After: after})
		}
	}
	for i, q := range queries(acme) {
		q.After = bad[i%len(bad)]
		s.badCursor(q)
	}
}

func (s *subject) badCursor(q chargeingest.Query) {
	s.c.Helper()
	q.Limit = 1
	page, err := s.reader.List(s.c.Context(), q)
	if !errors.Is(err, chargeingest.ErrInvalidCursor) {
		s.c.failf("%s returned the error %v and %d events", describe(q), err, len(page.Events))
	}
}

// checkCursorAhead has cursors of a store that has more than this one, as a
// restored one. To accept them would be to pass over events that are still to
// come.
func checkCursorAhead(c *check) {
	other := c.openReader()
	other.stock(acme, crowd()...)
	ahead := other.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending}).Position
	s := c.openReader()
	for _, drafts := range [][]draft{{}, crowd()[:1]} {
		if len(drafts) > 0 {
			s.stock(acme, drafts...)
		}
		for _, q := range queries(acme) {
			q.After = ahead
			s.badCursor(q)
		}
	}
}
