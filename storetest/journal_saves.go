package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/chargeingest/relay"
)

func saveCases() []journalCase {
	return []journalCase{
		{"Save records progress, and zero fields change nothing", checkSave},
		{"Save with the token of an earlier lease changes nothing", checkSaveReleased},
		{"Save with the token of an expired lease changes nothing once another holder has the stream", checkSaveExpired},
		{"Save works after the end of the lease as long as no other holder has had the stream", checkSaveLate},
		{"Save without a lease changes nothing", checkSaveUnleased},
		{"Save changes only its stream", checkSaveStreams},
		{"names are compared byte by byte", checkJournalNames},
		{"concurrent saves are all recorded", checkSavesConcurrent},
		{"readers see all of a Save or nothing", checkSaveAtomic},
		{"saved progress survives reopening", checkSaveReopen},
	}
}

func (c *journalCheck) progress() (p relay.Progress) {
	c.Helper()
	ids, cursors := c.seedAt(acme, 3)
	failure := "connection refused"
	return relay.Progress{
		Position: cursors[1], LastEventID: ids[1], Entries: []relay.EntryChange{parked(ids[0], 1), dead(ids[1], 2)},
		Delivered: 7, Repeated: 5, Failure: &failure,
	}
}

func (c *journalCheck) wantSaved(p relay.Progress) {
	c.Helper()
	got := c.status(toVendor())
	wantEqual(c.check, "Status.Position", got.Position, p.Position)
	wantEqual(c.check, "Status.LastEventID", got.LastEventID, p.LastEventID)
	wantEqual(c.check, "Status.Delivered", got.Delivered, p.Delivered)
	wantEqual(c.check, "Status.Repeated", got.Repeated, p.Repeated)
	wantEqual(c.check, "Status.Failure", got.Failure, *p.Failure)
	wantEqual(c.check, "Status.Parked", got.Parked, 1)
	wantEqual(c.check, "Status.Dead", got.Dead, 1)
	c.wantEntries("Entries", c.entries(toVendor()), listed(p.Entries[0]), listed(p.Entries[1]))
}

func checkSave(c *journalCheck) {
	p := c.progress()
	p.Token = c.token(toVendor(), "a")
	wantEqual(c.check, "Status.SavedAt before the first Save is zero", c.status(toVendor()).SavedAt.IsZero(), true)
	c.save(toVendor(), p)
	c.wantSaved(p)
	if at := c.status(toVendor()).SavedAt; time.Since(at).Abs() > time.Hour {
		c.failf("Status.SavedAt is %v, want the current time", at)
	}
	c.save(toVendor(), relay.Progress{Token: p.Token})
	c.wantSaved(p)
	state := c.lease(toVendor(), relay.LeaseRequest{Holder: "a", TTL: time.Hour})
	wantEqual(c.check, "State of the next lease", state, relay.State{Token: p.Token, Position: p.Position, LastEventID: p.LastEventID})
	c.save(toVendor(), relay.Progress{Token: p.Token, Delivered: 10, Repeated: 100})
	p.Delivered, p.Repeated = 17, 105
	c.wantSaved(p)
}

func (c *journalCheck) wantRefused(saved relay.Progress, token int64) {
	c.Helper()
	fine := ""
	ids, cursors := c.seedAt(acme, 1)
	later := relay.Progress{
		Position: cursors[0], LastEventID: ids[0], Entries: []relay.EntryChange{parked(ids[0], 3), deliveredNow(saved.Entries[0].EventID, 3)},
		Delivered: 1, Repeated: 1, Failure: &fine, Token: token,
	}
	c.wantLeaseLost(toVendor(), later)
	c.wantSaved(saved)
}

func checkSaveReleased(c *journalCheck) {
	p := c.progress()
	first := c.token(toVendor(), "a")
	c.release(toVendor(), "a")
	p.Token = c.token(toVendor(), "b")
	c.save(toVendor(), p)
	c.wantRefused(p, first)
	c.wantRefused(p, p.Token+1)
	c.wantRefused(p, 0)
}

func checkSaveExpired(c *journalCheck) {
	p := c.progress()
	p.Token = c.lease(toVendor(), relay.LeaseRequest{Holder: "a", TTL: shortLease}).Token
	c.save(toVendor(), p)
	state := c.takeOver(toVendor(), "b")
	wantEqual(c.check, "State.Position after a takeover", state.Position, p.Position)
	wantEqual(c.check, "State.LastEventID after a takeover", state.LastEventID, p.LastEventID)
	c.wantRefused(p, p.Token)
	c.release(toVendor(), "b")
	c.wantRefused(p, p.Token)
}

func checkSaveLate(c *journalCheck) {
	p := c.progress()
	p.Token = c.token(toVendor(), "a")
	c.release(toVendor(), "a")
	c.save(toVendor(), p)
	c.wantSaved(p)
	c.wantRefused(p, p.Token-1)
}

func checkSaveUnleased(c *journalCheck) {
	p := c.progress()
	for _, p.Token = range []int64{0, 1} {
		c.wantLeaseLost(toVendor(), p)
	}
	wantEqual(c.check, "number of streams", len(c.statuses("")), 0)
	c.wantLeaseLost(toVendor(), relay.Progress{})
}

func checkSaveStreams(c *journalCheck) {
	ids, cursors := c.seedAt(acme, 1)
	all := streams()
	for i, s := range all {
		c.saved(s, relay.Progress{
			Delivered: int64(i + 1), Position: cursors[0], LastEventID: s.Destination, Entries: []relay.EntryChange{parked(ids[0], i)},
		})
	}
	c.wantLeaseLost(toVendor(), relay.Progress{Token: c.token(toVendor(), "a") + 1})
	for i, s := range all {
		due, _ := c.due(s, minute(100), 10)
		c.wantEntries("Due", due, relay.Entry{
			EventID: ids[0], State: relay.Parked, Attempts: 1, Since: minute(i), NextAttempt: minute(i + 10), Reason: refused(0).Reason,
		})
		if s.Platform != "" {
			wantEqual(c.check, "Status.Delivered", c.status(s).Delivered, int64(i+1))
			wantEqual(c.check, "Status.LastEventID", c.status(s).LastEventID, s.Destination)
			c.wantEntries("Entries", c.entries(s), listed(parked(ids[0], i)))
		}
	}
}

func journalNames() []string {
	return append(names(), "a\x00", "a\x00b", "\x00", "\xff", "\xfe", "a\xff", `\xff`, `\x00`, "\ufffd", strings.Repeat("🧾", 256), strings.Repeat("\xff", 256))
}

func checkJournalNames(c *journalCheck) {
	all := journalNames()
	stream := func(i int) relay.Stream { return relay.Stream{Destination: all[i], Platform: all[len(all)-1-i]} }
	for i := range all {
		c.saved(stream(i), relay.Progress{Delivered: int64(i + 1), Position: "elsewhere", LastEventID: all[i]})
	}
	list := c.statuses("")
	wantEqual(c.check, "number of streams", len(list), len(all))
	for i, status := range list {
		if i > 0 && list[i-1].Destination >= status.Destination {
			c.failf("Status lists destination %q before %q", list[i-1].Destination, status.Destination)
		}
	}
	for i := range all {
		list := c.statuses(stream(i).Platform)
		wantEqual(c.check, "number of streams of a platform", len(list), 1)
		wantEqual(c.check, "Status.Stream", list[0].Stream, stream(i))
		wantEqual(c.check, "Status.Delivered", list[0].Delivered, int64(i+1))
	}
	s, all := toVendor(), names()
	var changes []relay.EntryChange
	for i := range all {
		change := dead(all[i], i)
		change.Attempt.Reason.Code = all[len(all)-1-i]
		changes = append(changes, change)
	}
	c.saved(s, relay.Progress{Entries: changes})
	for i := range all {
		e := c.page(relay.EntryQuery{Stream: s, EventID: all[i], Limit: 1}).Entries[0]
		wantEqual(c.check, "Entry.EventID", e.EventID, all[i])
		c.wantTime("Entry.Since", e.Since, minute(i))
		found := c.page(relay.EntryQuery{Stream: s, Code: changes[i].Attempt.Reason.Code, Limit: 10}).Entries
		wantEqual(c.check, "number of entries with a code", len(found), 1)
		wantEqual(c.check, "EventID of the entry with a code", found[0].EventID, all[i])
	}
}

func checkSavesConcurrent(c *journalCheck) {
	const perStream, saves = 4, 5
	ctx := c.Context()
	var wg sync.WaitGroup
	var errs sync.Map
	for _, s := range streams() {
		token := c.token(s, "a")
		for w := range perStream {
			wg.Go(func() {
				for i := range saves {
					change := parked(fmt.Sprint(w, "-", i), i)
					p := relay.Progress{Token: token, Delivered: 1, Repeated: 2, Entries: []relay.EntryChange{change, parked("shared", i)}}
					if err := c.journal.Save(ctx, s, p); err != nil {
						errs.Store(err, s)
					}
				}
			})
		}
	}
	wg.Wait()
	for err := range errs.Range {
		c.failf("Save returned error: %v", err)
	}
	for _, s := range streams() {
		if s.Platform == "" {
			continue
		}
		status := c.status(s)
		wantEqual(c.check, "Status.Delivered", status.Delivered, perStream*saves)
		wantEqual(c.check, "Status.Repeated", status.Repeated, 2*perStream*saves)
		wantEqual(c.check, "Status.Parked", status.Parked, perStream*saves+1)
		shared := c.page(relay.EntryQuery{Stream: s, EventID: "shared", Limit: 1}).Entries[0]
		wantEqual(c.check, "Entry.Attempts", shared.Attempts, perStream*saves)
	}
}

func checkSaveAtomic(c *journalCheck) {
	token := c.token(toVendor(), "a")
	ctx := c.Context()
	const saves = 30
	saved := make(chan error, saves)
	go func() {
		defer close(saved)
		for i := range saves {
			saved <- c.journal.Save(ctx, toVendor(), relay.Progress{
				Token: token, Delivered: 2, LastEventID: fmt.Sprint(2 * i), Entries: []relay.EntryChange{parked(fmt.Sprint(i), i), dead(fmt.Sprint(-i-1), i)},
			})
		}
	}()
	var seen []relay.Status
	var failure error
	for err := range saved {
		failure = errors.Join(failure, err)
		list, err := c.journal.Status(ctx, acme)
		failure = errors.Join(failure, err)
		seen = append(seen, list...)
	}
	if failure != nil {
		c.failf("Save or Status returned error: %v", failure)
	}
	for _, status := range seen {
		wantEqual(c.check, "Status.Parked and Dead together", status.Parked+status.Dead, status.Delivered)
	}
}

func checkSaveReopen(c *journalCheck) {
	c.requireReopen()
	p := c.progress()
	p.Token = c.token(toVendor(), "a")
	c.save(toVendor(), p)
	before := c.status(toVendor())
	c.reopen()
	c.wantSaved(p)
	after := c.status(toVendor())
	wantEqual(c.check, "Status.Lag", after.Lag, before.Lag)
	c.wantTime("Status.SavedAt", after.SavedAt, before.SavedAt)
	c.wantTime("Status.FailingSince", after.FailingSince, before.FailingSince)
}
