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
		{"Get returns each event as Append returned it", checkGet},
		{"Get returns ErrNotFound for an unknown id", checkGetUnknown},
		{"List returns events in storage order, newest first by default", checkListOrder},
		{"replays and conflicts add nothing to a listing", checkListAfterReplays},
		{"List includes events stored since the same listing was read", checkListAgain},
		{"the caller may modify the events of a page", checkReadsOwned},
		{"Get and List with an ended context return an error or the right result", checkReadCanceled},
	}
}

func checkGet(c *check) {
	s := c.newReader()
	stored := append(s.appendNew(batch(acme, draft{}, draft{timestamp: "2026-01-01T00:00:00Z"})), s.appendNew(batch(acme, matchingDraft()))...)
	for _, o := range stored {
		c.wantEvent("Get", s.get(acme, o.ID), o.StoredEvent)
	}
}

func checkGetUnknown(c *check) {
	s := c.newReader()
	zero := storekit.IDPrefix + strings.Repeat("0", 26)
	c.wantNotFound(s, acme, zero)
	id := s.appendNew(batch(acme, draft{reference: "a"}))[0].ID
	for _, unknown := range []string{zero, "", "a", "%", id[:len(id)-1], id + "0", id[len(storekit.IDPrefix):], " " + id, id + " ", strings.ToLower(id), strings.ToUpper(id), strings.NewReplacer("0", "O", "1", "I").Replace(id), "\x00", id + "\x00", "\xff"} {
		c.wantNotFound(s, acme, unknown)
	}
}

func checkListOrder(c *check) {
	s := c.newReader()
	wantEqual(c, "number of events of an empty store", len(s.pages(chargeingest.Query{Platform: acme})), 0)
	var want []string
	for i := range 5 {
		back := received().AddDate(0, 0, -i)
		want = append(want, outcomeIDs(s.appendNew(batch(acme,
			draft{received: back},
			draft{received: back.AddDate(0, 0, 3), timestamp: "2001-01-01T00:00:00Z"},
		)))...)
	}
	wantList(c, "ids in ascending order", ids(s.pages(chargeingest.Query{Platform: acme, Order: chargeingest.Ascending})), want)
	slices.Reverse(want)
	wantList(c, "ids in descending order", ids(s.pages(chargeingest.Query{Platform: acme, Order: chargeingest.Descending})), want)
	wantList(c, "ids in the default order", ids(s.pages(chargeingest.Query{Platform: acme})), want)
}

func checkListAfterReplays(c *check) {
	s := c.newReader()
	first := keyed("key", batch(acme, draft{reference: "a", number: "1"}, draft{}))
	stored := s.appendNew(first)
	s.appendReplays(first, stored...)
	s.appendReplays(batch(acme, draft{reference: "a", number: "1"}), stored[0])
	changed := batch(acme, draft{}, draft{reference: "a", number: "2"})
	wantEqual(c, "ConflictError.Index", s.appendConflict(changed).Index, 1)
	s.appendKeyConflict(keyed("key", batch(acme, draft{})))
	s.appendReplays(returnOriginal(batch(acme, draft{reference: "a", number: "2"})), stored[0])
	s.wantStored(acme, stored...)
}

func checkListAgain(c *check) {
	s := c.newReader()
	unique := matchingDraft()
	unique.reference = ""
	var events []seeded
	for _, drafts := range [][]draft{{}, mixedDrafts(), {unique}} {
		if len(drafts) > 0 {
			events = append(events, s.seed(acme, drafts...)...)
		}
		for _, q := range queries(acme) {
			s.wantQuery(events, q)
		}
	}
}

func checkReadsOwned(c *check) {
	s := c.newReader()
	b := batch(acme, draft{reference: "a", customerID: "c"}, draft{reference: "b", customerID: "c"})
	stored := slices.Clone(s.appendNew(b))
	for _, q := range []chargeingest.Query{{}, {Reference: "a"}, {CustomerID: "c"}, {ProductItemID: "item"}, {To: new(received())}} {
		q.Platform, q.Order = acme, chargeingest.Ascending
		want := storedEvents(stored)
		if q.Reference != "" {
			want = want[:1]
		}
		for range 2 {
			c.wantEvents("List after a page was modified", s.list(q).Events, want)
			clear(s.list(q).Events)
			c.wantEvent("Get after a page was modified", s.get(acme, stored[0].ID), stored[0].StoredEvent)
		}
	}
	s.appendReplays(b, stored...)
}

func checkReadCanceled(c *check) {
	s := c.newReader()
	events := s.seedPlatforms()
	ctx := canceled(c.Context())
	if e, err := s.reader.Get(ctx, acme, events[0].stored.ID); err == nil {
		c.wantEvent("Get", e, events[0].stored)
	} else if errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Get returned ErrNotFound for a stored event")
	}
	for _, q := range queries(acme) {
		q.Limit = 100
		if page, err := s.reader.List(ctx, q); err == nil {
			c.wantEvents("a page of "+describe(q), page.Events, selected(events, q))
		}
	}
}
