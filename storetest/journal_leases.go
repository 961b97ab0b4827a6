package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/chargeingest/relay"
)

func leaseCases() []journalCase {
	return []journalCase{
		{"Lease creates a stream at the requested position and later ignores that", checkLeaseCreates},
		{"only one holder has the lease of a stream", checkLeaseExclusive},
		{"an extension keeps the token, and each later lease has a greater one", checkLeaseTokens},
		{"a TTL of zero ends only the holder's own lease", checkLeaseRelease},
		{"another holder gets a lease after its TTL, and not before", checkLeaseExpiry},
		{"streams have separate leases", checkLeaseStreams},
		{"of many holders at once, exactly one gets the lease", checkLeaseRace},
		{"leases have greater tokens after reopening", checkLeaseReopen},
	}
}

func checkLeaseCreates(c *journalCheck) {
	_, cursors := c.seedAt(acme, 2)
	request := relay.LeaseRequest{Holder: "a", TTL: time.Hour, Position: cursors[0]}
	state := c.lease(toVendor(), request)
	wantEqual(c.check, "State.Position", state.Position, cursors[0])
	wantEqual(c.check, "State.LastEventID", state.LastEventID, "")
	if state.Token <= 0 {
		c.failf("State.Token is %d, want a positive one", state.Token)
	}
	wantEqual(c.check, "Status.Position", c.status(toVendor()).Position, cursors[0])
	request.Position = cursors[1]
	wantEqual(c.check, "State.Position of an existing stream", c.lease(toVendor(), request).Position, cursors[0])
}

func checkLeaseExclusive(c *journalCheck) {
	c.token(toVendor(), "a")
	for _, holder := range []string{"b", "A", "a "} {
		c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: holder, TTL: time.Hour}, relay.ErrLeaseHeld)
	}
	c.token(toVendor(), "a")
}

func checkLeaseTokens(c *journalCheck) {
	last := c.token(toVendor(), "a")
	for i, holder := range []string{"b", "a", "a", "b", "b"} {
		c.release(toVendor(), []string{"a", "b", "a", "a", "b"}[i])
		token := c.token(toVendor(), holder)
		if token <= last {
			c.failf("the token of a later lease is %d, want more than %d", token, last)
		}
		for range 2 {
			wantEqual(c.check, "token of an extension", c.token(toVendor(), holder), token)
		}
		last = token
	}
}

func checkLeaseRelease(c *journalCheck) {
	c.token(toVendor(), "a")
	c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: "b"}, relay.ErrLeaseHeld)
	c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: "b", TTL: time.Hour}, relay.ErrLeaseHeld)
	c.release(toVendor(), "a")
	c.release(toVendor(), "a")
	c.token(toVendor(), "b")
	c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: "a"}, relay.ErrLeaseHeld)
}

const shortLease = 50 * time.Millisecond

func (c *journalCheck) takeOver(s relay.Stream, holder string) relay.State {
	c.Helper()
	for range 1000 {
		state, err := c.journal.Lease(c.Context(), s, relay.LeaseRequest{Holder: holder, TTL: time.Hour})
		switch {
		case err == nil:
			return state
		case !errors.Is(err, relay.ErrLeaseHeld):
			c.failf("Lease returned error %v, want ErrLeaseHeld or none", err)
		}
		time.Sleep(shortLease / 10)
	}
	c.failf("a lease of %v has not ended", shortLease)
	return relay.State{}
}

func checkLeaseExpiry(c *journalCheck) {
	start := time.Now()
	token := c.lease(toVendor(), relay.LeaseRequest{Holder: "a", TTL: shortLease}).Token
	state := c.takeOver(toVendor(), "b")
	if took := time.Since(start); took < shortLease {
		c.failf("another holder got a lease of %v after %v", shortLease, took)
	}
	if state.Token <= token {
		c.failf("the token of a later lease is %d, want more than %d", state.Token, token)
	}
	c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: "a", TTL: time.Hour}, relay.ErrLeaseHeld)
	c.release(toVendor(), "b")

	token = c.lease(toVendor(), relay.LeaseRequest{Holder: "a", TTL: shortLease}).Token
	time.Sleep(2 * shortLease)
	if again := c.token(toVendor(), "a"); again <= token {
		c.failf("the holder's lease after the end of its last one has token %d, want more than %d", again, token)
	}
	time.Sleep(2 * shortLease)
	c.wantLeaseError(toVendor(), relay.LeaseRequest{Holder: "b", TTL: time.Hour}, relay.ErrLeaseHeld)
}

func checkLeaseStreams(c *journalCheck) {
	for i, s := range streams() {
		c.token(s, fmt.Sprint(i))
	}
	for i, s := range streams() {
		c.wantLeaseError(s, relay.LeaseRequest{Holder: fmt.Sprint(i + 1), TTL: time.Hour}, relay.ErrLeaseHeld)
	}
}

func streams() (all []relay.Stream) {
	for _, destination := range []string{vendor, archive} {
		for _, platform := range []string{"", acme, globex} {
			all = append(all, relay.Stream{Destination: destination, Platform: platform})
		}
	}
	return all
}

func checkLeaseRace(c *journalCheck) {
	for range 5 {
		const holders = 8
		var errs [holders]error
		var wg sync.WaitGroup
		ctx := c.Context()
		for i := range holders {
			wg.Go(func() {
				_, errs[i] = c.journal.Lease(ctx, toVendor(), relay.LeaseRequest{Holder: fmt.Sprint(i), TTL: time.Hour})
			})
		}
		wg.Wait()
		var winners []string
		for i, err := range errs {
			switch {
			case err == nil:
				winners = append(winners, fmt.Sprint(i))
			case !errors.Is(err, relay.ErrLeaseHeld):
				c.failf("Lease returned error %v, want ErrLeaseHeld or none", err)
			}
		}
		wantEqual(c.check, "number of holders with the lease", len(winners), 1)
		c.release(toVendor(), winners[0])
	}
}

func (c *journalCheck) reopen() {
	c.Helper()
	c.start(c.reopenJournal(c.store.EventStore))
}

func (c *journalCheck) requireReopen() {
	c.Helper()
	if c.reopenJournal == nil {
		c.Skipf("skipped: the option storetest.ReopenJournal is not set")
	}
}

func checkLeaseReopen(c *journalCheck) {
	c.requireReopen()
	old := c.token(toVendor(), "a")
	c.save(toVendor(), relay.Progress{Token: old, Delivered: 1})
	c.release(toVendor(), "a")
	c.reopen()
	token := c.token(toVendor(), "b")
	if token <= old {
		c.failf("the token after reopening is %d, want more than %d", token, old)
	}
	c.wantLeaseLost(toVendor(), relay.Progress{Token: old, Delivered: 1})
	c.save(toVendor(), relay.Progress{Token: token, Delivered: 1})
	wantEqual(c.check, "Status.Delivered", c.status(toVendor()).Delivered, 2)
}
