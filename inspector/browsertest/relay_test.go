package browsertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

type delivery struct {
	*host
	journal *memstore.Journal
}

func startRelay(t *testing.T, change ...func(*inspector.Config)) *delivery {
	t.Helper()
	store := memstore.New()
	d := &delivery{journal: store.Journal()}
	d.host = startHostWith(t, store, append(change, func(c *inspector.Config) { c.Relay = d.journal })...)
	return d
}

func (d *delivery) store(reference string) (id string) {
	d.t.Helper()
	var e struct{ ID string }
	require.NoError(d.t, json.Unmarshal([]byte(d.ingest(201, event(reference, "cust_1"))), &e))
	return e.ID
}

func (d *delivery) save(destination string, p relay.Progress) {
	d.t.Helper()
	s := relay.Stream{Destination: destination, Platform: chargeingest.DefaultPlatform}
	state, err := d.journal.Lease(d.t.Context(), s, relay.LeaseRequest{Holder: "test", TTL: time.Minute})
	require.NoError(d.t, err)
	p.Token = state.Token
	require.NoError(d.t, d.journal.Save(d.t.Context(), s, p))
}

func rejected(id string, reason relay.Reason) relay.EntryChange {
	return relay.EntryChange{EventID: id, State: relay.Dead, Attempt: relay.Attempt{At: screenshotTime, Outcome: "rejected", Reason: reason}}
}

func deferred(id string, reason relay.Reason) relay.EntryChange {
	return relay.EntryChange{EventID: id, State: relay.Parked, NextAttempt: screenshotTime.Add(time.Hour),
		Attempt: relay.Attempt{At: screenshotTime, Outcome: "deferred", Reason: reason}}
}

func (d *delivery) entry(destination, id string) relay.Entry {
	d.t.Helper()
	page, err := d.journal.Entries(d.t.Context(), relay.EntryQuery{EventID: id, Limit: 1,
		Stream: relay.Stream{Destination: destination, Platform: chargeingest.DefaultPlatform}})
	require.NoError(d.t, err)
	return page.Entries[0]
}

func (p *page) relayRows(n int) []string {
	p.t.Helper()
	p.wait(fmt.Sprintf(`document.querySelectorAll('#relay-table tbody tr').length === %d`, n))
	return p.texts("#relay-table tbody tr")
}

const vendor = "https://billing.example.com"

var (
	invalid = relay.Reason{Status: 400, Code: "INVALID_FIELD", Field: "value.number", Message: "value.number must be a decimal"}
	unknown = relay.Reason{Status: 404, Code: "RESOURCES_NOT_FOUND", Message: "no such customer"}
	busy    = relay.Reason{Status: 429, Message: "slow down"}
)

func TestRelay(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		d := startRelay(t)
		var ids []string
		for i := range 6 {
			ids = append(ids, d.store(fmt.Sprintf("order-%d", i)))
		}
		d.save(vendor, relay.Progress{LastEventID: ids[3], Delivered: 4000, Repeated: 7, Entries: []relay.EntryChange{
			rejected(ids[0], invalid), rejected(ids[1], unknown), rejected(ids[2], invalid), deferred(ids[3], busy)}})
		p := open(t, v, d.link(adaKey))
		p.click("#tabs a", "Relay")
		p.see("#relay-streams [data-destination]", vendor)
		for key, want := range map[string]string{"lag": "6 events", "delivered": "4,000", "repeated": "7", "dead": "3", "parked": "1", "position": ids[3]} {
			assert.Equal(t, want, p.text(fmt.Sprintf("#relay-streams [data-stream=%s]", key)), key)
		}
		p.see("#relay-streams .badge", "up")
		rows := p.relayRows(3)
		require.Contains(t, rows[0], "400 INVALID_FIELD value.number")
		p.accessible("relay")
		p.tabStops("relay")

		d.save(vendor, relay.Progress{Delivered: 9000, Failure: new("dial tcp: connection refused")})
		p.see("#relay-streams [data-stream=rate]", "per second")
		p.see("#relay-streams .badge", "down")
		p.see("#relay-streams .notice", "connection refused")
		p.accessible("down")

		p.click(fmt.Sprintf("#relay-table [data-id=%s] [data-action=retry]", ids[0]), "")
		p.see("#relay-result", "1 event will be sent again")
		p.relayRows(2)
		require.Equal(t, relay.Parked, d.entry(vendor, ids[0]).State)
		p.click(fmt.Sprintf("#relay-table [data-id=%s] [data-action=skip]", ids[1]), "")
		p.see("#relay-result", "1 event skipped")
		p.relayRows(1)
		require.Equal(t, "ada", d.entry(vendor, ids[1]).History[1].By)

		p.choose("#relay-state", "skipped")
		p.see("#relay-table tbody tr", ids[1])
		require.Contains(t, p.location(), "state=skipped")
		p.do(reload)
		p.see("#relay-table tbody tr", ids[1])
		p.click("#relay-streams [data-stream=parked] a", "")
		p.relayRows(2)
		p.enter("#relay-code", "INVALID_FIELD")
		p.press("\r")
		p.relayRows(1)
		p.click("#relay-skip-all", "")
		p.accessible("question")
		p.click("#relay-skip-no", "")
		p.relayRows(1)
		p.click("#relay-skip-all", "")
		p.click("#relay-skip-yes", "")
		p.see("#relay-result", "1 event skipped")
		require.Equal(t, relay.Skipped, d.entry(vendor, ids[0]).State)
		require.Equal(t, relay.Parked, d.entry(vendor, ids[3]).State)
		p.see("#relay-empty", "")
		p.enter("#relay-code", "")
		p.press("\r")
		p.choose("#relay-state", "skipped")
		p.relayRows(2)
		p.click("#relay-retry-all", "")
		p.click("#relay-retry-yes", "")
		p.see("#relay-result", "2 events will be sent again")
		require.Equal(t, relay.Parked, d.entry(vendor, ids[0]).State)
	})
}

func TestRelayOfAnEvent(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		d := startRelay(t)
		id, other := d.store("order-1"), d.store("order-2")
		for range 3 {
			d.save(vendor, relay.Progress{Entries: []relay.EntryChange{deferred(id, busy)}})
		}
		d.save(vendor, relay.Progress{Entries: []relay.EntryChange{rejected(id, invalid)}})
		d.save("kafka:charges", relay.Progress{LastEventID: id})
		p := open(t, v, d.link(adaKey))
		p.rowCount(2)
		p.press("2")
		p.click("#events-table tbody tr", "order-1")
		p.click("#event-relay", "")
		p.see("#relay-id", id)
		p.see("#relay-entries h2", vendor)
		p.see("#relay-entries h2", "kafka:charges")
		p.see("#relay-entries p", "No attempt failed")
		attempts := p.texts("#relay-entries li")
		require.Len(t, attempts, 4)
		require.Contains(t, attempts[0], "429 slow down")
		require.Contains(t, attempts[3], "400 INVALID_FIELD")
		p.accessible("attempts")
		p.tabStops("attempts")
		p.click("#relay-entries [data-action=skip]", "")
		p.see("#relay-entries li", "skip by ada")
		p.click("#relay-back", "")
		p.see("#relay-empty", "")
		p.choose("#relay-destination", vendor)
		p.choose("#relay-state", "skipped")
		p.click("#relay-table a", id)
		p.see("#relay-entries li", "skip by ada")
		p.click("#relay-event", "")
		p.see("#event-detail", "order-1")
		p.navigate(d.page + "#/relay/" + other)
		p.see("#relay-entries .badge", "pending")
		p.navigate(d.page + "#/relay/none")
		p.see("#tab-relay .failure", "no such event")
		p.expect(`404`)
	})
}

func TestRelayPages(t *testing.T) {
	t.Parallel()
	d := startRelay(t)
	var all []relay.EntryChange
	for i := range 120 {
		all = append(all, rejected(d.store(fmt.Sprintf("order-%d", i)), invalid))
	}
	d.save(vendor, relay.Progress{Entries: all})
	p := open(t, wide, d.page+"#key="+adaKey)
	p.navigate(d.page + "#/relay")
	p.relayRows(50)
	p.click("#relay-next", "")
	p.see("#relay-table tbody tr", all[50].EventID)
	p.click("#relay-next", "")
	p.relayRows(20)
	p.see("#relay-next:disabled", "")
	p.click("#relay-previous", "")
	p.see("#relay-table tbody tr", all[50].EventID)
	p.click("#relay-first", "")
	p.see("#relay-table tbody tr", all[0].EventID)
	p.click("#relay-retry-all", "")
	p.click("#relay-retry-yes", "")
	p.see("#relay-result", "120 events will be sent again")
}

func TestRelayAccess(t *testing.T) {
	t.Parallel()
	d := startRelay(t)
	id := d.store("order-1")
	d.save(vendor, relay.Progress{Entries: []relay.EntryChange{rejected(id, invalid)}})
	require.NoError(t, d.keys.Replace(chargeingest.Key{Secret: adaKey, Subject: "ada", Platforms: []string{"default", "acme"}, Permissions: []chargeingest.Permission{chargeingest.PermissionView}}))
	p := open(t, wide, d.link(adaKey))
	p.click("#tabs a", "Relay")
	p.see("#relay-view-only", "METER_DATA.INGEST")
	p.relayRows(1)
	require.Empty(t, p.texts("[data-action]"))
	p.see("#relay-retry-all:disabled", "")
	p.see("#relay-skip-all:disabled", "")
	p.accessible("view only")
	p.choose("#platform", "acme")
	p.see("#relay-none", "")
	require.Empty(t, p.texts("#relay-table tbody tr"))

	hidden := open(t, wide, startHost(t).link(adaKey))
	hidden.see("#tabs a", "Overview")
	require.NotContains(t, strings.Join(hidden.texts("#tabs a"), " "), "Relay")
	page, _, _ := strings.Cut(hidden.location(), "#")
	hidden.navigate(page + "#/relay")
	hidden.see("#tab-requests", "")
}

func TestRelayHostileTexts(t *testing.T) {
	t.Parallel()
	inViews(t, func(t *testing.T, v view) {
		d := startRelay(t)
		var entries []relay.EntryChange
		for i, text := range append(hostileTexts, strings.Repeat("long ", 2000)) {
			id := d.store(fmt.Sprintf("order-%d", i))
			entries = append(entries, rejected(id, relay.Reason{Code: text, Field: text, Message: text}))
		}
		d.save(hostileTexts[0], relay.Progress{Entries: entries, Failure: new(strings.Join(hostileTexts, " "))})
		p := open(t, v, d.link(adaKey))
		p.click("#tabs a", "Relay")
		p.relayRows(len(entries))
		p.inert("list")
		p.accessible("list")
		for i, text := range hostileTexts[:8] {
			p.navigate(d.page + "#/relay/" + entries[i].EventID + "?code=" + encode(text))
			p.see("#relay-entries li", "")
			p.inert(text)
		}
		p.accessible("detail")
		p.navigate(d.page + "#/relay?code=" + encode(hostileTexts[2]))
		p.relayRows(1)
		p.inert("filter")
		p.click("#relay-table [data-action=retry]", "")
		p.see("#relay-result", "1 event")
		p.inert("retried")
		require.Equal(t, relay.Parked, d.entry(hostileTexts[0], entries[2].EventID).State)
	}, wide, narrow, wideDark)
}
