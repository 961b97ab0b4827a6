package storetest

import (
	"errors"
	"slices"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func readingCases() []testCase {
	return []testCase{
		{"Get returns each event as it was answered when it was stored", checkGet},
		{"Get of an id that is not there is ErrNotFound", checkGetUnknown},
		{"List returns what is stored in the order of storing, last stored first by default", checkListOrder},
		{"replays and conflicts add nothing to a listing", checkListAfterReplays},
		{"List sees what was stored after the same listing was read", checkListAgain},
		{"the events of a page are the caller's to change", checkReadsOwned},
		{"a reading call whose context has ended returns an error or the truth", checkReadEnded},
	}
}

func checkGet(c *check) {
	s := c.openReader()
	stored := append(s.fresh(batch(acme, draft{}, draft{timestamp: "2026-01-01T00:00:00Z"})), s.fresh(batch(acme, shared()))...)
	for _, o := range stored {
		c.sameEvent("Get", s.get(acme, o.ID), o.StoredEvent)
	}
}

func checkGetUnknown(c *check) {
	s := c.openReader()
	zero := storekit.IDPrefix + strings.Repeat("0", 26)
	c.notFound(s, acme, zero)
	id := s.fresh(batch(acme, draft{reference: "a"}))[0].ID
	for _, unknown := range []string{zero, "", "a", "%", id[:len(id)-1], id + "0", id[len(storekit.IDPrefix):], " " + id, id + " ", strings.ToLower(id), strings.ToUpper(id), strings.NewReplacer("0", "O", "1", "I").Replace(id), "\x00", id + "\x00", "\xff"} {
		c.notFound(s, acme, unknown)
	}
}

func checkListOrder(c *check) {
	s := c.openReader()
	equal(c, "the number of events of an empty store", len(s.pages(chargeingest.Query{Platform: acme})), 0)
	// Neither the time of receipt nor the timestamp has a say in the order.
	var want []string
	for i := range 5 {
		back := received().AddDate(0, 0, -i)
		want = append(want, outcomeIDs(s.fresh(batch(acme,
			draft{received: back},
			draft{received: back.AddDate(0, 0, 3), timestamp: "2001-01-01T00:00:00Z"},
		)))...)
	}
	equalList(c, "ascending ids", ids(s.pages(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending})), want)
	slices.Reverse(want)
	equalList(c, "descending ids", ids(s.pages(chargeingest.Query{Platform: acme, Order: chargeingest.Descending})), want)
	equalList(c, "ids in the default order", ids(s.pages(chargeingest.Query{Platform: acme})), want)
}

func checkListAfterReplays(c *check) {
	s := c.openReader()
	first := keyed("key", batch(acme, draft{reference: "a", number: "1"}, draft{}))
	stored := s.fresh(first)
	s.replayed(first, stored...)
	s.replayed(batch(acme, draft{reference: "a", number: "1"}), stored[0])
	changed := batch(acme, draft{}, draft{reference: "a", number: "2"})
	equal(c, "ConflictError.Index", s.conflict(changed).Index, 1)
	s.keyConflict(keyed("key", batch(acme, draft{})))
	s.replayed(returnOriginal(batch(acme, draft{reference: "a", number: "2"})), stored[0])
	s.holds(acme, stored...)
}

func checkListAgain(c *check) {
	s := c.openReader()
	unique := shared()
	unique.reference = ""
	var events []known
	for _, drafts := range [][]draft{{}, crowd(), {unique}} {
		if len(drafts) > 0 {
			events = append(events, s.stock(acme, drafts...)...)
		}
		for _, q := range queries(acme) {
			s.selects(events, q)
		}
	}
}

func checkReadsOwned(c *check) {
	s := c.openReader()
	b := batch(acme, draft{reference: "a", customerID: "c"}, draft{reference: "b", customerID: "c"})
	stored := slices.Clone(s.fresh(b))
	for _, q := range []chargeingest.Query{{}, {Reference: "a"}, {CustomerID: "c"}, {ProductItemID: "item"}, {To: new(received())}} {
		q.Platform, q.Order = acme, chargeingest.Ascending
		want := storedEvents(stored)
		if q.Reference != "" {
			want = want[:1]
		}
		for range 2 {
			c.sameEvents("List after its pages were overwritten", s.list(q).Events, want)
			clear(s.list(q).Events)
			c.sameEvent("Get after a page was overwritten", s.get(acme, stored[0].ID), stored[0].StoredEvent)
		}
	}
	s.replayed(b, stored...)
}

// checkReadEnded allows any error except a false ErrNotFound.
func checkReadEnded(c *check) {
	s := c.openReader()
	events := s.stockBoth()
	ctx := ended(c.Context())
	if e, err := s.reader.Get(ctx, acme, events[0].stored.ID); err == nil {
		c.sameEvent("Get", e, events[0].stored)
	} else if errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Get returned ErrNotFound for an event that is there")
	}
	for _, q := range queries(acme) {
		q.Limit = 100
		if page, err := s.reader.List(ctx, q); err == nil {
			c.sameEvents("a page of "+describe(q), page.Events, selected(events, q))
		}
	}
}
