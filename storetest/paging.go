package storetest

import (
	"errors"
	"regexp"
	"slices"

	"example.com/chargeingest"
)

func pagingCases() []testCase {
	return []testCase{
		{"pages are full up to the last and Next is empty where nothing more is there", checkPages},
		{"an ascending page always has a Position and a descending one never", checkPositions},
		{"Position leads to what is stored later and to nothing else", checkPositionContinues},
		{"Position of a full page continues behind its last event", checkPositionFullPage},
		{"a page has no more content than MaxBytes, or one event", checkMaxBytes},
		{"a cursor can be used again", checkCursorAgain},
		{"cursors are of URL-safe characters", checkCursorForm},
		{"a cursor that is malformed is ErrBadCursor", checkBadCursor},
	}
}

func checkPages(c *check) {
	s := c.openReader()
	s.fresh(batch(globex, draft{}, draft{}))
	stored := s.fresh(batch(acme, make([]draft, 7)...))
	s.fresh(batch(globex, draft{}, draft{}))
	want := outcomeIDs(stored)
	s.pageBy(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending}, want)
	slices.Reverse(want)
	s.pageBy(chargeingest.Query{Platform: acme, Order: chargeingest.Descending}, want)
}

// pageBy reads a listing in pages of each size and checks them one by one.
func (s *subject) pageBy(q chargeingest.Query, want []string) {
	s.c.Helper()
	for q.Limit = 1; q.Limit <= len(want)+1; q.Limit++ {
		rest := want
		q.After = ""
		for {
			page := s.list(q)
			full := min(q.Limit, len(rest))
			equalList(s.c, "the page of "+describe(q), ids(page.Events), rest[:full])
			rest = rest[full:]
			if len(rest) == 0 {
				equal(s.c, "Next behind the last page of "+describe(q), page.Next, "")
				break
			}
			if page.Next == "" {
				s.c.failf("Next is empty and %d events are still to come, in %s", len(rest), describe(q))
			}
			q.After = page.Next
		}
	}
}

func checkMaxBytes(c *check) {
	s := c.openReader()
	b := batch(acme, make([]draft, 7)...)
	want := outcomeIDs(s.fresh(b))
	two := len(b.Events[0].Content) + len(b.Events[1].Content)
	for _, q := range []chargeingest.Query{{MaxBytes: 1}, {MaxBytes: two}, {MaxBytes: 100 * two}} {
		q.Platform, q.Order = acme, chargeingest.Ascending
		var got []string
		for {
			page := s.list(q)
			size := 0
			for _, e := range page.Events {
				size += len(e.Content)
			}
			if size > q.MaxBytes && len(page.Events) > 1 {
				c.failf("List with MaxBytes %d returned %d events of %d bytes", q.MaxBytes, len(page.Events), size)
			}
			got = append(got, ids(page.Events)...)
			if page.Next == "" {
				break
			}
			equal(c, "Position of a page that MaxBytes ended", page.Position, page.Next)
			q.After = page.Next
		}
		equalList(c, "all pages of MaxBytes", got, want)
	}
}

func checkPositions(c *check) {
	s := c.openReader()
	for range 3 {
		for _, limit := range []int{1, 2, 100} {
			up := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: limit})
			if up.Position == "" {
				c.failf("an ascending page of %d events has no Position", len(up.Events))
			}
			again := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: limit, After: up.Position})
			if again.Position == "" {
				c.failf("the page behind a Position has none itself")
			}
			down := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Descending, Limit: limit})
			equal(c, "Position of a descending page", down.Position, "")
		}
		s.fresh(batch(acme, draft{}, draft{customerID: "c"}))
	}
}

func checkPositionContinues(c *check) {
	s := c.openReader()
	s.fresh(batch(globex, draft{}))
	all := chargeingest.Query{Platform: acme, Order: chargeingest.Ascending}
	filtered := all
	filtered.CustomerID = "c"
	later := func(q *chargeingest.Query, want ...chargeingest.Outcome) {
		page := s.list(*q)
		equalList(c, "the ids behind a Position", ids(page.Events), outcomeIDs(want))
		q.After = page.Position
	}
	later(&all)
	later(&filtered)
	for range 3 {
		other := s.fresh(batch(acme, draft{}, draft{customerID: "d"}))
		later(&all, other...)
		later(&filtered)
		match := s.fresh(batch(acme, draft{customerID: "c"}))
		s.fresh(batch(globex, draft{customerID: "c"}))
		later(&all, match...)
		later(&filtered, match...)
		later(&all)
		later(&filtered)
	}
}

func checkPositionFullPage(c *check) {
	s := c.openReader()
	stored := s.fresh(batch(acme, make([]draft, 5)...))
	for limit := 1; limit <= len(stored); limit++ {
		page := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: limit})
		rest := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, After: page.Position})
		equalList(c, "the ids behind Position", ids(rest.Events), outcomeIDs(stored[limit:]))
	}
}

func checkCursorAgain(c *check) {
	s := c.openReader()
	stored := outcomeIDs(s.fresh(batch(acme, make([]draft, 4)...)))
	up := chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 1}
	down := chargeingest.Query{Platform: acme, Order: chargeingest.Descending, Limit: 1}
	up.After, down.After = s.list(up).Next, s.list(down).Next
	for range 3 {
		equalList(c, "the second ascending page", ids(s.list(up).Events), stored[1:2])
		equalList(c, "the second descending page", ids(s.list(down).Events), stored[2:3])
		s.fresh(batch(acme, draft{}))
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
	s.fresh(batch(acme, make([]draft, 3)...))
	good := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 1}).Next
	for _, order := range []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending} {
		for _, bad := range []string{"?", " ", "%00", "\x00", "ä", "' OR 1=1 --", "{}", good + "!", " " + good, good + "\n"} {
			page, err := s.reader.List(c.Context(), chargeingest.Query{Platform: acme, Order: order, After: bad, Limit: 1})
			if !errors.Is(err, chargeingest.ErrBadCursor) {
				c.failf("List after %q returned the error %v and %d events", bad, err, len(page.Events))
			}
		}
	}
}
