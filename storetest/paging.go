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
		{"every page but the last is full, and only the last has an empty Next", checkPages},
		{"every ascending page has a Position and no descending page has one", checkPositions},
		{"Position leads to the events stored later and to no others", checkPositionContinues},
		{"a page has at most MaxBytes of content, or one event", checkMaxBytes},
		{"a cursor can be reused, also with a different Limit", checkCursorReused},
		{"cursors have 1 to 256 URL-safe characters", checkCursorForm},
		{"List returns ErrInvalidCursor for a malformed cursor", checkMalformedCursor},
		{"List returns ErrInvalidCursor for a cursor beyond the stored events", checkCursorAhead},
	}
}

func (s *testedStore) seedPlatforms() []seeded {
	s.c.Helper()
	s.seed(globex, mixedDrafts()...)
	events := s.seed(acme, mixedDrafts()...)
	s.seed("initech", mixedDrafts()...)
	return events
}

func checkPages(c *check) {
	s := c.newReader()
	events := s.seedPlatforms()
	for _, q := range queries(acme) {
		want := selected(events, q)
		limits := []int{1, 2, len(want) - 1, len(want), len(want) + 1, math.MaxInt}
		slices.Sort(limits)
		for _, q.Limit = range slices.Compact(limits) {
			if q.Limit > 0 {
				s.wantPages(q, want)
			}
		}
	}
}

// wantPages requires that each page is full, unless MaxBytes limits it.
func (s *testedStore) wantPages(q chargeingest.Query, want []chargeingest.StoredEvent) {
	s.c.Helper()
	for {
		page := s.list(q)
		full := min(q.Limit, len(want))
		if q.MaxBytes > 0 && len(page.Events) > 0 {
			full = min(full, len(page.Events))
			s.wantWithinMaxBytes(q, page)
		}
		s.c.wantEvents("a page of "+describe(q), page.Events, want[:full])
		want = want[full:]
		if len(want) == 0 {
			wantEqual(s.c, "Next of the last page of "+describe(q), page.Next, "")
			return
		}
		if page.Next == "" {
			s.c.failf("%s: Next is empty before the last %d events", describe(q), len(want))
		}
		if q.Order == chargeingest.Ascending {
			wantEqual(s.c, "Position of a page with a Next", page.Position, page.Next)
		}
		q.After = page.Next
	}
}

func (s *testedStore) wantWithinMaxBytes(q chargeingest.Query, page chargeingest.Page) {
	s.c.Helper()
	size := 0
	for _, e := range page.Events {
		size += len(e.Content)
	}
	if size > q.MaxBytes && len(page.Events) > 1 {
		s.c.failf("%s: a page has %d events of %d bytes", describe(q), len(page.Events), size)
	}
}

func checkMaxBytes(c *check) {
	s := c.newReader()
	events := s.seedPlatforms()
	two := len(events[0].stored.Content) + len(events[1].stored.Content)
	for _, q := range queries(acme) {
		q.Limit = 3
		for _, q.MaxBytes = range []int{1, two, math.MaxInt} {
			s.wantPages(q, selected(events, q))
		}
	}
}

func checkPositions(c *check) {
	s := c.newReader()
	for _, withEvents := range []bool{false, true} {
		if withEvents {
			s.seedPlatforms()
		}
		for _, q := range queries(acme) {
			for _, q.Limit = range []int{1, 100} {
				page := s.list(q)
				if has := page.Position != ""; has != (q.Order == chargeingest.Ascending) {
					c.failf("%s: a page of %d events has Position %q", describe(q), len(page.Events), page.Position)
				}
			}
		}
	}
}

func checkPositionContinues(c *check) {
	s := c.newReader()
	s.seed(globex, mixedDrafts()...)
	following := slices.DeleteFunc(queries(acme), func(q chargeingest.Query) bool { return q.Order != chargeingest.Ascending })
	unique := matchingDraft()
	unique.reference = ""
	for _, drafts := range [][]draft{{}, mixedDrafts(), {{customerID: "d"}}, {unique, unique}, {}} {
		var later []seeded
		if len(drafts) > 0 {
			later = s.seed(acme, drafts...)
			s.seed(globex, unique)
		}
		for i := range following {
			q := &following[i]
			q.Limit = 2
			s.wantFollowing(q, selected(later, *q))
		}
	}
}

func (s *testedStore) wantFollowing(q *chargeingest.Query, want []chargeingest.StoredEvent) {
	s.c.Helper()
	for {
		page := s.list(*q)
		full := min(q.Limit, len(want))
		s.c.wantEvents("page after a Position of "+describe(*q), page.Events, want[:full])
		want = want[full:]
		q.After = page.Position
		if full == 0 {
			return
		}
	}
}

func checkCursorReused(c *check) {
	s := c.newReader()
	events := s.seedPlatforms()
	all := queries(acme)
	for i := range all {
		q := &all[i]
		q.Limit = 1
		q.After = s.list(*q).Next
	}
	for _, limit := range []int{1, 2} {
		s.appendNew(batch(acme, mixedDrafts()[1]))
		for _, q := range all {
			want := selected(events, q)
			if q.Limit = limit; q.After != "" && len(want) > limit {
				s.c.wantEvents("second page of "+describe(q), s.list(q).Events, want[1:1+limit])
			}
		}
	}
}

func checkCursorForm(c *check) {
	form := regexp.MustCompile(`^[A-Za-z0-9._~-]{1,256}$`)
	s := c.newReader()
	for range 4 {
		for _, q := range []chargeingest.Query{
			{Platform: acme, Order: chargeingest.Ascending, Limit: 1},
			{Platform: acme, Order: chargeingest.Descending, Limit: 1},
		} {
			page := s.list(q)
			for _, cursor := range []string{page.Next, page.Position} {
				if cursor != "" && !form.MatchString(cursor) {
					c.failf("cursor %q", cursor)
				}
			}
		}
		s.appendNew(batch(acme, make([]draft, 100)...))
	}
}

func checkMalformedCursor(c *check) {
	s := c.newReader()
	s.seedPlatforms()
	good := s.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending, Limit: 1}).Next
	bad := []string{"?", " ", "%00", "\x00", "ä", "' OR 1=1 --", "{}", good + "!", " " + good, good + "\n"}
	for _, order := range orders() {
		for _, after := range bad {
			s.wantInvalidCursor(chargeingest.Query{Platform: acme, Order: order, After: after})
		}
	}
	for i, q := range queries(acme) {
		q.After = bad[i%len(bad)]
		s.wantInvalidCursor(q)
	}
}

func (s *testedStore) wantInvalidCursor(q chargeingest.Query) {
	s.c.Helper()
	q.Limit = 1
	page, err := s.reader.List(s.c.Context(), q)
	if !errors.Is(err, chargeingest.ErrInvalidCursor) {
		s.c.failf("%s: List returned %d events and error %v, want ErrInvalidCursor", describe(q), len(page.Events), err)
	}
}

// A cursor of a store with more events, as after a restore: accepting it would
// skip the next events.
func checkCursorAhead(c *check) {
	other := c.newReader()
	other.seed(acme, mixedDrafts()...)
	ahead := other.list(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending}).Position
	s := c.newReader()
	for _, drafts := range [][]draft{{}, mixedDrafts()[:1]} {
		if len(drafts) > 0 {
			s.seed(acme, drafts...)
		}
		for _, q := range queries(acme) {
			q.After = ahead
			s.wantInvalidCursor(q)
		}
	}
}
