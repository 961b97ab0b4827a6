package storetest

import (
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest/relay"
)

func entryCases() []journalCase {
	return []journalCase{
		{"entries are listed with all their attempts, in the order of their first", checkEntryAttempts},
		{"a history has the first attempt and the last 49", checkHistory},
		{"a skipped entry changes only if it was delivered", checkSkippedEntry},
		{"Due returns parked entries by NextAttempt, up to a limit", checkDue},
		{"Due returns the next attempt after those", checkDueNext},
		{"entries and their histories survive reopening", checkEntriesReopen},
	}
}

func changed(e relay.Entry, change relay.EntryChange) relay.Entry {
	e.State, e.NextAttempt = change.State, change.NextAttempt
	if change.State != relay.DeliveredState {
		e.Reason = change.Attempt.Reason
	}
	e.Attempts++
	e.History = append(slices.Clone(e.History), change.Attempt)
	return e
}

func checkEntryAttempts(c *journalCheck) {
	s, token := toVendor(), c.token(toVendor(), "a")
	save := func(changes ...relay.EntryChange) { c.save(s, relay.Progress{Token: token, Entries: changes}) }
	save(parked("b", 1), parked("a", 2))
	save(dead("c", 3))
	save(parked("a", 4), parked("d", 4))
	save(dead("b", 5), deliveredNow("d", 5), parked("a", 6))
	want := []relay.Entry{
		changed(listed(parked("b", 1)), dead("b", 5)),
		changed(changed(listed(parked("a", 2)), parked("a", 4)), parked("a", 6)),
		listed(dead("c", 3)),
		changed(listed(parked("d", 4)), deliveredNow("d", 5)),
	}
	c.wantEntries("Entries", c.entries(s), want...)
	for _, e := range want {
		c.wantEntries("the entry "+e.EventID, c.page(relay.EntryQuery{Stream: s, EventID: e.EventID, Limit: 1}).Entries, e)
	}
	save(deliveredNow("e", 7))
	c.wantEntries("the entry e", c.page(relay.EntryQuery{Stream: s, EventID: "e", Limit: 1}).Entries,
		relay.Entry{EventID: "e", State: relay.DeliveredState, Attempts: 1, Since: minute(7), History: []relay.Attempt{delivered(7)}})
}

func checkHistory(c *journalCheck) {
	s, token := toVendor(), c.token(toVendor(), "a")
	want := listed(parked("a", 0))
	c.save(s, relay.Progress{Token: token, Entries: []relay.EntryChange{parked("a", 0)}})
	for n := 1; n < 120; n += 7 {
		var changes []relay.EntryChange
		for i := n; i < n+7; i++ {
			changes = append(changes, parked("a", i))
			want = changed(want, parked("a", i))
		}
		c.save(s, relay.Progress{Token: token, Entries: changes})
		if n == 43 {
			wantEqual(c.check, "number of attempts", len(want.History), 50)
			c.wantEntries("Entries", c.entries(s), want)
		}
	}
	want.History = slices.Concat(want.History[:1], want.History[len(want.History)-49:])
	c.wantEntries("Entries", c.entries(s), want)
	r := relay.Resolution{Stream: s, Action: relay.Retry, EventIDs: []string{"a"}, By: "eve", At: minute(200)}
	wantEqual(c.check, "number of retried entries", c.resolve(r), 1)
	want.Since, want.NextAttempt = r.At, r.At
	want.History = slices.Concat(want.History[:1], want.History[2:], []relay.Attempt{{At: r.At, Outcome: "retry", By: "eve"}})
	c.wantEntries("Entries", c.entries(s), want)
}

func checkSkippedEntry(c *journalCheck) {
	s, token := toVendor(), c.token(toVendor(), "a")
	save := func(changes ...relay.EntryChange) { c.save(s, relay.Progress{Token: token, Entries: changes}) }
	save(parked("a", 1), dead("b", 1))
	r := relay.Resolution{Stream: s, Action: relay.Skip, EventIDs: []string{"a", "b"}, By: "eve", At: minute(2)}
	wantEqual(c.check, "number of skipped entries", c.resolve(r), 2)
	skipped := c.entries(s)
	save(parked("a", 3), dead("b", 3))
	c.wantEntries("Entries", c.entries(s), skipped...)
	due, _ := c.due(s, minute(100), 10)
	c.wantEntries("Due", due)
	save(deliveredNow("a", 4))
	c.wantEntries("Entries", c.entries(s), changed(skipped[0], deliveredNow("a", 4)), skipped[1])
}

func checkDue(c *journalCheck) {
	s, token := toVendor(), c.token(toVendor(), "a")
	due, next := c.due(s, minute(100), 10)
	c.wantEntries("Due of a stream without entries", due)
	c.wantTime("the next attempt", next, time.Time{})
	var changes []relay.EntryChange
	for _, n := range []int{3, 1, 4, 0, 2} {
		changes = append(changes, parked(fmt.Sprint(n), n))
	}
	c.save(s, relay.Progress{Token: token, Entries: append(changes, dead("dead", 0), deliveredNow("delivered", 0))})
	entry := func(n int) relay.Entry {
		e := listed(parked(fmt.Sprint(n), n))
		e.History = nil
		return e
	}
	for _, tc := range []struct{ now, limit, want int }{{9, 10, 0}, {10, 10, 1}, {12, 10, 3}, {12, 2, 2}, {100, 10, 5}, {100, 5, 5}, {100, 1, 1}} {
		var want []relay.Entry
		for n := range tc.want {
			want = append(want, entry(n))
		}
		due, _ := c.due(s, minute(tc.now), tc.limit)
		c.wantEntries(fmt.Sprintf("Due at minute %d up to %d", tc.now, tc.limit), due, want...)
	}
	c.save(s, relay.Progress{Token: token, Entries: []relay.EntryChange{parked("0", 20), dead("1", 20), deliveredNow("2", 20)}})
	again := changed(entry(0), parked("0", 20))
	again.History = nil
	due, _ = c.due(s, minute(100), 10)
	c.wantEntries("Due after more attempts", due, entry(3), entry(4), again)
	unknown := relay.Stream{Destination: "unknown", Platform: acme}
	due, next = c.due(unknown, minute(100), 10)
	c.wantEntries("Due of an unknown stream", due)
	c.wantTime("the next attempt of an unknown stream", next, time.Time{})
}

func checkDueNext(c *journalCheck) {
	s := toVendor()
	c.saved(s, relay.Progress{Entries: []relay.EntryChange{parked("a", 0), parked("b", 1), parked("c", 5), dead("d", 1)}})
	for _, tc := range []struct {
		now, limit int
		want       time.Time
	}{{0, 10, minute(10)}, {10, 10, minute(11)}, {11, 10, minute(15)}, {11, 1, minute(11)}, {100, 2, minute(15)}, {100, 3, time.Time{}}, {100, 10, time.Time{}}} {
		_, next := c.due(s, minute(tc.now), tc.limit)
		c.wantTime(fmt.Sprintf("the next attempt at minute %d after %d", tc.now, tc.limit), next, tc.want)
	}
}

func checkEntriesReopen(c *journalCheck) {
	c.requireReopen()
	s := toVendor()
	c.saved(s, relay.Progress{Entries: []relay.EntryChange{parked("a", 0), parked("a", 1), dead("b", 1), deliveredNow("c", 2), dead("d", 2)}})
	c.resolve(relay.Resolution{Stream: s, Action: relay.Skip, EventIDs: []string{"d"}, By: "eve", At: minute(3)})
	entries, status := c.entries(s), c.status(s)
	wantEqual(c.check, "number of entries", len(entries), 4)
	c.reopen()
	c.wantEntries("Entries", c.entries(s), entries...)
	wantEqual(c.check, "Status.Skipped", c.status(s).Skipped, status.Skipped)
	due, next := c.due(s, minute(100), 10)
	wantEqual(c.check, "number of due entries", len(due), 1)
	c.wantTime("the next attempt", next, time.Time{})
	c.saved(s, relay.Progress{Entries: []relay.EntryChange{parked("a", 5), parked("e", 5)}})
	c.wantEntries("Entries", c.entries(s), append([]relay.Entry{changed(entries[0], parked("a", 5))}, append(entries[1:], listed(parked("e", 5)))...)...)
}
