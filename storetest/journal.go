package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// Journal is what [RunJournal] checks.
type Journal interface {
	relay.Journal
	relay.Ledger
}

// ReopenJournal adds the durability cases. reopen closes s and returns a store with the same data,
// and its journal.
func ReopenJournal(reopen func(t *testing.T, s chargeingest.EventStore) (chargeingest.EventStore, Journal)) Option {
	return func(o *options) { o.reopenJournal = reopen }
}

// RunJournal checks the journal of a store in sequential subtests of t, one for each rule of
// [relay.Journal], [relay.Ledger] and [relay.PlatformLister].
//
// Each call of newStore must return a new, empty store that is a [chargeingest.EventReader],
// and its journal.
func RunJournal(t *testing.T, newStore func(t *testing.T) (chargeingest.EventStore, Journal), opts ...Option) {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	for _, tc := range journalCases() {
		t.Run(tc.rule, func(t *testing.T) {
			c := &journalCheck{check: &check{testingT: t, rule: tc.rule}}
			if o.reopenJournal != nil {
				c.reopenJournal = func(s chargeingest.EventStore) (chargeingest.EventStore, Journal) { return o.reopenJournal(t, s) }
			}
			c.start(newStore(t))
			tc.run(c)
		})
	}
}

type journalCase struct {
	rule string
	run  func(c *journalCheck)
}

func journalCases() (all []journalCase) {
	for _, cases := range [][]journalCase{leaseCases(), saveCases(), entryCases(), statusCases(), ledgerCases(), resolveCases()} {
		all = append(all, cases...)
	}
	return all
}

type journalCheck struct {
	*check
	store   *testedStore
	journal Journal

	reopenJournal func(chargeingest.EventStore) (chargeingest.EventStore, Journal)
}

func (c *journalCheck) start(s chargeingest.EventStore, j Journal) {
	c.Helper()
	c.store, c.journal = c.testedStore(s), j
	if c.store.reader == nil {
		c.failf("the store does not implement chargeingest.EventReader")
	}
}

const (
	vendor  = "https://vendor.example"
	archive = "nats:archive"
)

func toVendor() relay.Stream { return relay.Stream{Destination: vendor, Platform: acme} }

func (c *journalCheck) lease(s relay.Stream, r relay.LeaseRequest) relay.State {
	c.Helper()
	state, err := c.journal.Lease(c.Context(), s, r)
	if err != nil {
		c.failf("Lease of %q returned error: %v", s, err)
	}
	return state
}

func (c *journalCheck) token(s relay.Stream, holder string) int64 {
	c.Helper()
	return c.lease(s, relay.LeaseRequest{Holder: holder, TTL: time.Hour}).Token
}

func (c *journalCheck) release(s relay.Stream, holder string) {
	c.Helper()
	c.lease(s, relay.LeaseRequest{Holder: holder})
}

func (c *journalCheck) wantLeaseError(s relay.Stream, r relay.LeaseRequest, want error) {
	c.Helper()
	if state, err := c.journal.Lease(c.Context(), s, r); !errors.Is(err, want) {
		c.failf("Lease by %s returned state %v and error %v, want error: %v", r.Holder, state, err, want)
	}
}

func (c *journalCheck) save(s relay.Stream, p relay.Progress) {
	c.Helper()
	if err := c.journal.Save(c.Context(), s, p); err != nil {
		c.failf("Save to %q returned error: %v", s, err)
	}
}

func (c *journalCheck) wantLeaseLost(s relay.Stream, p relay.Progress) {
	c.Helper()
	if err := c.journal.Save(c.Context(), s, p); !errors.Is(err, relay.ErrLeaseLost) {
		c.failf("Save with token %d returned error %v, want ErrLeaseLost", p.Token, err)
	}
}

func (c *journalCheck) saved(s relay.Stream, p relay.Progress) {
	c.Helper()
	p.Token = c.token(s, "a")
	c.save(s, p)
}

func (c *journalCheck) due(s relay.Stream, now time.Time, limit int) ([]relay.Entry, time.Time) {
	c.Helper()
	due, next, err := c.journal.Due(c.Context(), s, now, limit)
	if err != nil {
		c.failf("Due returned error: %v", err)
	}
	return due, next
}

func (c *journalCheck) statuses(platform string) []relay.Status {
	c.Helper()
	list, err := c.journal.Status(c.Context(), platform)
	if err != nil {
		c.failf("Status returned error: %v", err)
	}
	return list
}

func (c *journalCheck) status(s relay.Stream) relay.Status {
	c.Helper()
	for _, status := range c.statuses(s.Platform) {
		if status.Stream == s {
			return status
		}
	}
	c.failf("Status does not have the stream %q", s)
	return relay.Status{}
}

func (c *journalCheck) page(q relay.EntryQuery) relay.EntryPage {
	c.Helper()
	page, err := c.journal.Entries(c.Context(), q)
	if err != nil {
		c.failf("Entries returned error: %v", err)
	}
	return page
}

func (c *journalCheck) entries(s relay.Stream) []relay.Entry {
	c.Helper()
	return c.page(relay.EntryQuery{Stream: s, Limit: 1000}).Entries
}

func (c *journalCheck) resolve(r relay.Resolution) int64 {
	c.Helper()
	n, err := c.journal.Resolve(c.Context(), r)
	if err != nil {
		c.failf("Resolve returned error: %v", err)
	}
	return n
}

// wantEntries compares entries in order, with histories if want[0] has one.
func (c *journalCheck) wantEntries(name string, got []relay.Entry, want ...relay.Entry) {
	c.Helper()
	texts := func(entries []relay.Entry) []string {
		list := make([]string, len(entries))
		for i, e := range entries {
			if len(want) == 0 || want[0].History == nil {
				e.History = nil
			}
			list[i] = entryText(e)
		}
		return list
	}
	wantList(c.check, name, texts(got), texts(want))
}

func entryText(e relay.Entry) string {
	e.Since, e.NextAttempt = e.Since.UTC(), e.NextAttempt.UTC()
	history := make([]relay.Attempt, len(e.History))
	for i, a := range e.History {
		a.At = a.At.UTC()
		history[i] = a
	}
	e.History = history
	text, _ := json.Marshal(e)
	return string(text)
}

func (c *journalCheck) wantTime(name string, got, want time.Time) {
	c.Helper()
	if !got.Equal(want) {
		c.failf("%s is %v, want %v", name, got, want)
	}
}

// minute returns a time for all stores.
func minute(n int) time.Time { return time.Date(2026, 3, 1, 12, n, 0, 987_654_000, time.UTC) }

func refused(n int) relay.Attempt {
	return relay.Attempt{At: minute(n), Outcome: "deferred", Reason: relay.Reason{Status: 429, Code: "slow", Field: "value", Message: "slow down"}}
}

func rejected(n int) relay.Attempt {
	return relay.Attempt{At: minute(n), Outcome: "rejected", Reason: relay.Reason{Status: 400, Code: "invalid"}}
}

func delivered(n int) relay.Attempt { return relay.Attempt{At: minute(n), Outcome: "delivered"} }

func parked(id string, n int) relay.EntryChange {
	return relay.EntryChange{EventID: id, State: relay.Parked, NextAttempt: minute(n + 10), Attempt: refused(n)}
}

func dead(id string, n int) relay.EntryChange {
	return relay.EntryChange{EventID: id, State: relay.Dead, Attempt: rejected(n)}
}

func deliveredNow(id string, n int) relay.EntryChange {
	return relay.EntryChange{EventID: id, State: relay.DeliveredState, Attempt: delivered(n)}
}

func listed(change relay.EntryChange) relay.Entry {
	return relay.Entry{
		EventID: change.EventID, State: change.State, Attempts: 1, Since: change.Attempt.At, NextAttempt: change.NextAttempt,
		Reason: change.Attempt.Reason, History: []relay.Attempt{change.Attempt},
	}
}

// seedAt stores n events. It returns their ids and the cursor after each.
func (c *journalCheck) seedAt(platform string, n int) (ids, cursors []string) {
	c.Helper()
	q := chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: 1}
	q.After = c.store.list(chargeingest.Query{Platform: platform, Order: chargeingest.Ascending}).Position
	for i := range n {
		d := draft{received: minute(i)}
		ids = append(ids, c.store.appendNew(batch(platform, d))[0].ID)
		q.After = c.store.list(q).Position
		cursors = append(cursors, q.After)
	}
	return ids, cursors
}
