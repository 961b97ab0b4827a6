package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest/relay"
)

func statusCases() []journalCase {
	return []journalCase{
		{"Status counts the events after the position and returns the receipt of the first", checkLag},
		{"Lag is unknown for a position of another store", checkUnknownLag},
		{"Status counts entries by state", checkStatusCounts},
		{"Status lists streams by destination and platform, without those that have no platform", checkStatusOrder},
		{"Failure is kept until it is cleared, with the time since when", checkFailure},
		{"Platforms lists the platforms with events in byte order", checkPlatforms},
	}
}

func (c *journalCheck) wantLag(s relay.Stream, lag int64, oldest time.Time) {
	c.Helper()
	status := c.status(s)
	wantEqual(c.check, fmt.Sprintf("Status.Lag of %q", s), status.Lag, lag)
	// A store may keep milliseconds.
	wantEqual(c.check, "difference of Status.OldestPending", status.OldestPending.Sub(oldest).Truncate(time.Millisecond), 0)
}

func checkLag(c *journalCheck) {
	other := relay.Stream{Destination: vendor, Platform: globex}
	empty := relay.Stream{Destination: vendor, Platform: "empty"}
	ids, cursors := c.seedAt(acme, 3)
	_, others := c.seedAt(globex, 5)
	_, more := c.seedAt(acme, 2)
	cursors = append(cursors, more...)
	for _, s := range []relay.Stream{toVendor(), other, empty} {
		c.saved(s, relay.Progress{})
	}
	c.wantLag(toVendor(), 5, minute(0))
	c.wantLag(other, 5, minute(0))
	c.wantLag(empty, 0, time.Time{})
	for i, position := range cursors {
		c.saved(toVendor(), relay.Progress{Position: position, LastEventID: ids[0]})
		if i < 4 {
			c.wantLag(toVendor(), int64(4-i), minute((i+1)%3))
		} else {
			c.wantLag(toVendor(), 0, time.Time{})
		}
	}
	c.wantLag(other, 5, minute(0))
	c.saved(other, relay.Progress{Position: others[3]})
	c.wantLag(other, 1, minute(4))
	c.wantLag(toVendor(), 0, time.Time{})
	c.seedAt(acme, 1)
	c.wantLag(toVendor(), 1, minute(0))
}

func checkUnknownLag(c *journalCheck) {
	c.seedAt(acme, 3)
	c.saved(toVendor(), relay.Progress{Position: "position of another store", LastEventID: "elsewhere"})
	c.wantLag(toVendor(), -1, time.Time{})
	wantEqual(c.check, "Status.Position", c.status(toVendor()).Position, "position of another store")
}

func checkStatusCounts(c *journalCheck) {
	s := toVendor()
	var changes []relay.EntryChange
	for i := range 10 {
		changes = append(changes, dead(fmt.Sprint("dead-", i), i))
	}
	for i := range 4 {
		changes = append(changes, parked(fmt.Sprint("parked-", i), i))
	}
	for i := range 3 {
		changes = append(changes, parked(fmt.Sprint("delivered-", i), i), deliveredNow(fmt.Sprint("delivered-", i), i+1))
	}
	c.saved(s, relay.Progress{Entries: changes})
	c.resolve(relay.Resolution{Stream: s, Action: relay.Skip, EventIDs: []string{"dead-1", "dead-2", "parked-0"}, By: "eve", At: minute(30)})
	c.resolve(relay.Resolution{Stream: s, Action: relay.Retry, EventIDs: []string{"dead-3"}, By: "eve", At: minute(30)})
	status := c.status(s)
	wantEqual(c.check, "Status.Parked", status.Parked, 4)
	wantEqual(c.check, "Status.Dead", status.Dead, 7)
	wantEqual(c.check, "Status.Skipped", status.Skipped, 3)
	wantEqual(c.check, "Status.Delivered", status.Delivered, 0)
}

func checkStatusOrder(c *journalCheck) {
	want := slices.DeleteFunc(streams(), func(s relay.Stream) bool { return s.Platform == "" })
	for _, s := range slices.Backward(streams()) {
		c.saved(s, relay.Progress{})
	}
	order := func(a, b relay.Stream) int {
		return strings.Compare(a.Destination+"\x00"+a.Platform, b.Destination+"\x00"+b.Platform)
	}
	slices.SortFunc(want, order)
	list := func(platform string) (got []relay.Stream) {
		for _, status := range c.statuses(platform) {
			got = append(got, status.Stream)
		}
		return got
	}
	wantList(c.check, "all streams", list(""), want)
	for _, platform := range []string{acme, globex, "unknown"} {
		wantList(c.check, "streams of "+platform, list(platform),
			slices.DeleteFunc(slices.Clone(want), func(s relay.Stream) bool { return s.Platform != platform }))
	}
}

func checkFailure(c *journalCheck) {
	s, token := toVendor(), c.token(toVendor(), "a")
	save := func(failure string) relay.Status {
		c.save(s, relay.Progress{Token: token, Failure: &failure})
		return c.status(s)
	}
	first := save("connection refused")
	wantEqual(c.check, "Status.Failure", first.Failure, "connection refused")
	if time.Since(first.FailingSince).Abs() > time.Hour {
		c.failf("Status.FailingSince is %v, want the current time", first.FailingSince)
	}
	c.save(s, relay.Progress{Token: token, Delivered: 1})
	wantEqual(c.check, "Status.Failure after another Save", c.status(s).Failure, "connection refused")
	time.Sleep(2 * time.Millisecond)
	changed := save("status 500")
	wantEqual(c.check, "Status.Failure", changed.Failure, "status 500")
	c.wantTime("Status.FailingSince with another failure", changed.FailingSince, first.FailingSince)
	up := save("")
	wantEqual(c.check, "Status.Failure", up.Failure, "")
	c.wantTime("Status.FailingSince", up.FailingSince, time.Time{})
	if again := save("status 500"); !again.FailingSince.After(first.FailingSince) {
		c.failf("Status.FailingSince of a new failure is %v, want a later time", again.FailingSince)
	}
}

func checkPlatforms(c *journalCheck) {
	lister, ok := c.store.EventStore.(relay.PlatformLister)
	if !ok {
		c.Skipf("skipped: the store does not implement relay.PlatformLister")
	}
	platforms := func(after string, limit int) []string {
		list, err := lister.Platforms(c.Context(), after, limit)
		if err != nil {
			c.failf("Platforms returned error: %v", err)
		}
		return list
	}
	wantList(c.check, "platforms of an empty store", platforms("", 10), nil)
	all := slices.Compact(slices.Sorted(slices.Values(append(names(), "a\x00b"))))
	for _, name := range all {
		c.store.appendNew(batch(name, draft{}))
	}
	c.saved(relay.Stream{Destination: vendor, Platform: "without events"}, relay.Progress{})
	wantList(c.check, "all platforms", platforms("", 1000), all)
	var paged []string
	for after := ""; ; after = paged[len(paged)-1] {
		page := platforms(after, 7)
		paged = append(paged, page...)
		if len(page) < 7 {
			break
		}
	}
	wantList(c.check, "pages of platforms", paged, all)
	wantList(c.check, "platforms after a name that is none", platforms(all[5]+"\x00", 2), all[6:8])
}
