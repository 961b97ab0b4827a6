package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func ledgerCases() []journalCase {
	return []journalCase{
		{"Entries filters by state and code", checkEntryFilters},
		{"pages of Entries have each entry once", checkEntryPages},
		{"Entries returns ErrInvalidCursor for a wrong cursor", checkEntryCursor},
		{"Entries with an EventID returns pending, delivered and parked events", checkEntryByID},
		{"Entries returns ErrNotFound for an unknown stream or event", checkEntryNotFound},
	}
}

func resolveCases() []journalCase {
	return []journalCase{
		{"Retry parks entries again and starts their age again", checkRetry},
		{"Skip gives up parked and dead entries", checkSkip},
		{"Resolve by filter changes exactly the matching entries", checkResolveFilter},
		{"Resolve changes only its stream", checkResolveStreams},
		{"a retired stream cannot be leased and keeps its record", checkRetire},
		{"Resolve rejects an invalid resolution and an unknown stream", checkResolveInvalid},
	}
}

// mixedEntries saves entries of all states with two codes, and returns them in order.
func (c *journalCheck) mixedEntries(s relay.Stream) []relay.Entry {
	c.Helper()
	var changes []relay.EntryChange
	for i := range 12 {
		id := fmt.Sprintf("%02d", i)
		change := []relay.EntryChange{parked(id, i), dead(id, i), dead(id, i), deliveredNow(id, i)}[i%4]
		if i%3 == 0 && change.State != relay.DeliveredState {
			change.Attempt.Reason.Code = "other"
		}
		changes = append(changes, change)
	}
	c.saved(s, relay.Progress{Entries: changes})
	r := relay.Resolution{Stream: s, Action: relay.Skip, EventIDs: []string{"02", "06"}, By: "eve", At: minute(20)}
	wantEqual(c.check, "number of skipped entries", c.resolve(r), 2)
	all := c.entries(s)
	wantEqual(c.check, "number of entries", len(all), len(changes))
	return all
}

func entryStates() []relay.EntryState {
	return []relay.EntryState{relay.Parked, relay.Dead, relay.Skipped, relay.DeliveredState}
}

func matching(all []relay.Entry, state relay.EntryState, code string) (list []relay.Entry) {
	for _, e := range all {
		if (state == "" || e.State == state) && (code == "" || e.Reason.Code == code) {
			list = append(list, e)
		}
	}
	return list
}

func checkEntryFilters(c *journalCheck) {
	all := c.mixedEntries(toVendor())
	for _, state := range append(entryStates(), "", relay.Pending, "unknown") {
		for _, code := range []string{"", "slow", "invalid", "other", "OTHER", "unknown"} {
			page := c.page(relay.EntryQuery{Stream: toVendor(), State: state, Code: code, Limit: 100})
			c.wantEntries(fmt.Sprintf("entries with state %q and code %q", state, code), page.Entries, matching(all, state, code)...)
			wantEqual(c.check, "EntryPage.Next", page.Next, "")
		}
	}
}

func checkEntryPages(c *journalCheck) {
	all := c.mixedEntries(toVendor())
	for _, q := range []relay.EntryQuery{{Limit: 1}, {Limit: 5}, {Limit: 12}, {Limit: 2, State: relay.Dead}, {Limit: 1, Code: "other"}} {
		q.Stream = toVendor()
		var got []relay.Entry
		for pages := 0; ; pages++ {
			page := c.page(q)
			if len(page.Entries) > q.Limit || pages > len(all) {
				c.failf("Entries with Limit %d returned page %d of %d entries", q.Limit, pages, len(page.Entries))
			}
			got = append(got, page.Entries...)
			if q.After = page.Next; page.Next == "" {
				break
			}
		}
		c.wantEntries("all pages", got, matching(all, q.State, q.Code)...)
	}
	page := c.page(relay.EntryQuery{Stream: toVendor(), Limit: 11})
	c.saved(toVendor(), relay.Progress{Entries: []relay.EntryChange{dead("new", 30), parked("00", 30)}})
	rest := c.page(relay.EntryQuery{Stream: toVendor(), Limit: 11, After: page.Next})
	c.wantEntries("a page after changes", rest.Entries, all[11], listed(dead("new", 30)))
}

func checkEntryCursor(c *journalCheck) {
	c.mixedEntries(toVendor())
	for _, after := range []string{"x", " ", "AAAAAAAAAA=", "\xff"} {
		if _, err := c.journal.Entries(c.Context(), relay.EntryQuery{Stream: toVendor(), After: after, Limit: 1}); !errors.Is(err, chargeingest.ErrInvalidCursor) {
			c.failf("Entries after %q returned error %v, want ErrInvalidCursor", after, err)
		}
	}
}

func checkEntryByID(c *journalCheck) {
	ids, cursors := c.seedAt(acme, 4)
	c.saved(toVendor(), relay.Progress{Position: cursors[2], LastEventID: ids[2], Entries: []relay.EntryChange{parked(ids[1], 1)}})
	for i, want := range []relay.Entry{
		{EventID: ids[0], State: relay.DeliveredState}, listed(parked(ids[1], 1)),
		{EventID: ids[2], State: relay.DeliveredState}, {EventID: ids[3], State: relay.Pending},
	} {
		page := c.page(relay.EntryQuery{Stream: toVendor(), EventID: ids[i], Limit: 1})
		c.wantEntries(fmt.Sprintf("the entry of event %d", i), page.Entries, want)
		wantEqual(c.check, "EntryPage.Next", page.Next, "")
	}
	begun := relay.Stream{Destination: archive, Platform: acme}
	c.saved(begun, relay.Progress{})
	for _, id := range ids {
		c.wantEntries("an event of a stream at the beginning", c.page(relay.EntryQuery{Stream: begun, EventID: id, Limit: 1}).Entries,
			relay.Entry{EventID: id, State: relay.Pending})
	}
}

func checkEntryNotFound(c *journalCheck) {
	mine, _ := c.seedAt(acme, 1)
	theirs, _ := c.seedAt(globex, 1)
	for _, s := range streams() {
		if s.Destination == vendor {
			c.saved(s, relay.Progress{})
		}
	}
	for _, q := range []relay.EntryQuery{
		{Stream: toVendor(), EventID: theirs[0]},
		{Stream: toVendor(), EventID: "unknown"},
		{Stream: relay.Stream{Destination: archive, Platform: acme}},
		{Stream: relay.Stream{Destination: archive, Platform: acme}, EventID: mine[0]},
		{Stream: relay.Stream{Destination: vendor, Platform: "unknown"}},
		{Stream: relay.Stream{Destination: vendor}},
	} {
		q.Limit = 10
		if page, err := c.journal.Entries(c.Context(), q); !errors.Is(err, chargeingest.ErrNotFound) {
			c.failf("Entries of %v returned %d entries and error %v, want ErrNotFound", q, len(page.Entries), err)
		}
	}
	c.wantEntries("Entries of a stream without any", c.entries(toVendor()))
}

func resolved(e relay.Entry, r relay.Resolution) relay.Entry {
	e.History = append(slices.Clone(e.History), relay.Attempt{At: r.At, Outcome: string(r.Action), By: r.By})
	if r.Action == relay.Retry {
		e.State, e.Since, e.NextAttempt = relay.Parked, r.At, r.At
	} else {
		e.State, e.NextAttempt = relay.Skipped, time.Time{}
	}
	return e
}

// checkResolved decides about all entries by id. Those in one of the states change.
func (c *journalCheck) checkResolved(action relay.Action, states ...relay.EntryState) []relay.Entry {
	c.Helper()
	all := c.mixedEntries(toVendor())
	r := relay.Resolution{Stream: toVendor(), Action: action, By: "mallory", At: minute(40), EventIDs: []string{"unknown"}}
	wantEqual(c.check, "number of changed entries", c.resolve(r), 0)
	var n int64
	for i, e := range all {
		r.EventIDs = append(r.EventIDs, e.EventID)
		if slices.Contains(states, e.State) {
			all[i] = resolved(e, r)
			n++
		}
	}
	wantEqual(c.check, "number of changed entries", c.resolve(r), n)
	c.wantEntries("Entries", c.entries(toVendor()), all...)
	return all
}

func checkRetry(c *journalCheck) {
	all := c.checkResolved(relay.Retry, relay.Parked, relay.Dead, relay.Skipped)
	due, _ := c.due(toVendor(), minute(40), 100)
	wantEqual(c.check, "number of due entries", len(due), len(matching(all, relay.Parked, "")))
	c.wantTime("Entry.Since", due[0].Since, minute(40))
}

func checkSkip(c *journalCheck) {
	c.checkResolved(relay.Skip, relay.Parked, relay.Dead)
	due, _ := c.due(toVendor(), minute(400), 100)
	c.wantEntries("Due", due)
	r := relay.Resolution{Stream: toVendor(), Action: relay.Skip, By: "mallory", At: minute(50), EventIDs: []string{"00", "01"}}
	wantEqual(c.check, "number of entries skipped again", c.resolve(r), 0)
}

func checkResolveFilter(c *journalCheck) {
	all := c.mixedEntries(toVendor())
	for i, r := range []relay.Resolution{
		{Action: relay.Skip, State: relay.Dead, Code: "other"},
		{Action: relay.Retry, State: relay.Parked, Code: "unknown"},
		{Action: relay.Retry, State: relay.Parked, Code: "slow"},
		{Action: relay.Retry, State: relay.Skipped, Code: "invalid"},
		{Action: relay.Skip, State: relay.Parked},
		{Action: relay.Retry, State: relay.Dead},
		{Action: relay.Retry, State: relay.Skipped},
	} {
		r.Stream, r.By, r.At = toVendor(), "eve", minute(50+i)
		var n int64
		for i, e := range all {
			if len(matching([]relay.Entry{e}, r.State, r.Code)) == 1 {
				all[i] = resolved(e, r)
				n++
			}
		}
		wantEqual(c.check, fmt.Sprintf("number of changed entries of %s %s %s", r.Action, r.State, r.Code), c.resolve(r), n)
		c.wantEntries("Entries", c.entries(toVendor()), all...)
	}
}

func checkResolveStreams(c *journalCheck) {
	c.mixedEntries(toVendor())
	others := []relay.Stream{{Destination: archive, Platform: acme}, {Destination: vendor, Platform: globex}}
	var before [][]relay.Entry
	for _, s := range others {
		before = append(before, c.mixedEntries(s))
	}
	r := relay.Resolution{Stream: toVendor(), By: "eve", At: minute(50)}
	for _, r.State = range []relay.EntryState{relay.Dead, relay.Parked} {
		r.Action, r.EventIDs = relay.Skip, nil
		c.resolve(r)
		r.Action, r.EventIDs = relay.Retry, []string{"00", "01", "02"}
		c.resolve(r)
	}
	r.Action, r.EventIDs, r.State = relay.Retire, nil, ""
	c.resolve(r)
	for i, s := range others {
		c.wantEntries("Entries of another stream", c.entries(s), before[i]...)
		c.token(s, "a")
	}
}

func checkRetire(c *journalCheck) {
	all := c.mixedEntries(toVendor())
	r := relay.Resolution{Stream: toVendor(), Action: relay.Retire, By: "eve", At: minute(50)}
	c.resolve(r)
	again := r
	again.By, again.At = "mallory", minute(60)
	c.resolve(again)
	for _, holder := range []string{"a", "b"} {
		c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: holder, TTL: time.Hour}, relay.ErrRetired)
	}
	status := c.status(toVendor())
	wantEqual(c.check, "Status.RetiredBy", status.RetiredBy, "eve")
	c.wantTime("Status.RetiredAt", status.RetiredAt, minute(50))
	r.Action, r.State = relay.Retry, relay.Dead
	if _, err := c.journal.Resolve(c.Context(), r); !errors.Is(err, relay.ErrRetired) {
		c.failf("Retry of a retired stream returned error %v, want ErrRetired", err)
	}
	c.wantEntries("Entries", c.entries(toVendor()), all...)
}

func checkResolveInvalid(c *journalCheck) {
	all := c.mixedEntries(toVendor())
	valid := relay.Resolution{Stream: toVendor(), Action: relay.Retry, State: relay.Dead, By: "eve", At: minute(50)}
	for name, change := range map[string]func(*relay.Resolution){
		"no By":                  func(r *relay.Resolution) { r.By = "" },
		"no At":                  func(r *relay.Resolution) { r.At = time.Time{} },
		"an unknown action":      func(r *relay.Resolution) { r.Action = "delete" },
		"no filter":              func(r *relay.Resolution) { r.State = "" },
		"delivered entries":      func(r *relay.Resolution) { r.State = relay.DeliveredState },
		"Skip of skipped":        func(r *relay.Resolution) { r.Action, r.State = relay.Skip, relay.Skipped },
		"Retire with a filter":   func(r *relay.Resolution) { r.Action = relay.Retire },
		"Retire with an EventID": func(r *relay.Resolution) { r.Action, r.State, r.EventIDs = relay.Retire, "", []string{"00"} },
	} {
		r := valid
		change(&r)
		if n, err := c.journal.Resolve(c.Context(), r); err == nil {
			c.failf("Resolve with %s changed %d entries, want an error", name, n)
		}
	}
	unknown := valid
	unknown.Platform = globex
	if _, err := c.journal.Resolve(c.Context(), unknown); !errors.Is(err, chargeingest.ErrNotFound) {
		c.failf("Resolve of an unknown stream returned error %v, want ErrNotFound", err)
	}
	c.wantEntries("Entries", c.entries(toVendor()), all...)
	c.token(toVendor(), "a")
}
