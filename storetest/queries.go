package storetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

// queries returns the queries that every rule of listings is checked with, because a
// store can violate a rule in one combination only: each filter, all filters and
// none, with and without time bounds, in both orders. Some match no event.
func queries(platform string) []chargeingest.Query {
	e := matchingDraft().newEvent()
	all := chargeingest.Query{
		CustomerID:                       e.CustomerID,
		CustomerReference:                e.CustomerReference,
		PricingPlanSubscriptionID:        e.PricingPlanSubscriptionID,
		PricingPlanSubscriptionReference: e.PricingPlanSubscriptionReference,
		ProductItemID:                    e.ProductItemID,
	}
	filters := []chargeingest.Query{
		{},
		{Reference: e.Reference},
		{CustomerID: e.CustomerID},
		{CustomerReference: e.CustomerReference},
		{PricingPlanSubscriptionID: e.PricingPlanSubscriptionID},
		{PricingPlanSubscriptionReference: e.PricingPlanSubscriptionReference},
		{ProductItemID: e.ProductItemID},
		all,
		{CustomerID: "unknown"},
		{ProductItemID: "unknown"},
	}
	from, to := &e.Timestamp, new(e.Timestamp.Add(time.Nanosecond))
	var list []chargeingest.Query
	for _, q := range filters {
		q.Platform = platform
		for _, bounds := range [][2]*time.Time{{nil, nil}, {from, nil}, {nil, to}, {from, to}} {
			q.From, q.To = bounds[0], bounds[1]
			for _, q.Order = range orders() {
				list = append(list, q)
			}
		}
	}
	return list
}

func orders() []chargeingest.Order {
	return []chargeingest.Order{chargeingest.Ascending, chargeingest.Descending}
}

// matchingDraft matches the filters of queries.
func matchingDraft() draft {
	return draft{
		reference: "a", customerID: "c", customerReference: "cr", subscriptionID: "s", subscriptionReference: "sr",
		productItemID: "p", timestamp: "2026-01-01T00:00:00Z",
	}
}

// mixedDrafts returns nine events. Every other one has the fields of matchingDraft,
// one of them its reference, too. Timestamps are before, at and after that of
// matchingDraft. The order of receipt is not the storage order.
func mixedDrafts() []draft {
	const before, after = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"
	drafts := make([]draft, 9)
	for i := range drafts {
		d := matchingDraft()
		if i%2 == 1 {
			d = draft{customerID: "d", customerReference: "c", subscriptionID: "sr", subscriptionReference: "s", productItemID: "q"}
		}
		d.layout = layouts()[i%4]
		d.received = received().Add(time.Duration(-i) * time.Hour)
		d.timestamp = []string{before, after, matchingDraft().timestamp, before, matchingDraft().timestamp, matchingDraft().timestamp, matchingDraft().timestamp, after, after}[i]
		if i != 4 {
			d.reference = ""
		}
		d.extra = quote(strings.Repeat("🧾", 50+i))
		drafts[i] = d
	}
	return drafts
}

// names returns names of 1 to 256 characters that a store may confuse. They differ
// in case, white space, normalization, wildcards, escapes, or the last of many
// characters or bytes.
func names() []string {
	long, wide := strings.Repeat("x", 255), strings.Repeat("🧾", 255)
	return []string{
		"ab", "AB", "a", "ab ", " ab", "a b", "a  b", "ab\u00a0", "a\u00adb", "a\u200bb",
		"a_b", "a-b", "a_", "_b", "a%", "%", "a%20b", "a+b", `a\b`, "'ab'", "ab|cd", "a:b", "0", "00", "1", "１",
		"null", "äb", "a\u0308b", "Äb", "ÄB", "🧾", "😀", "fi", "ﬁ", "ss", "ß", "i", "ı",
		long[:64], long[:65], long, long + "a", long + "b", wide[:len(wide)-4], wide, wide + "a", wide + "b",
	}
}

// references returns the names that are valid references.
func references() []string {
	legal := regexp.MustCompile(`^[a-zA-Z0-9_\-]*$`)
	return slices.DeleteFunc(names(), func(name string) bool { return !legal.MatchString(name) })
}

// keys returns the names that are valid idempotency keys.
func keys() []string {
	legal := regexp.MustCompile(`^[!-~]{1,255}$`)
	return slices.DeleteFunc(names(), func(name string) bool { return !legal.MatchString(name) })
}

// separators returns characters that a store may use to join two names.
func separators() []string { return strings.Split("_-:#/|.,;+~", "") }

// seeded is a stored event with the event that was sent. Cases compute expected
// listings from it.
type seeded struct {
	stored chargeingest.StoredEvent
	sent   chargeingest.NewEvent
}

// seed stores drafts as one batch.
func (s *testedStore) seed(platform string, drafts ...draft) []seeded {
	s.c.Helper()
	b := batch(platform, drafts...)
	events := make([]seeded, len(drafts))
	for i, o := range s.appendNew(b) {
		events[i] = seeded{o.StoredEvent, b.Events[i]}
	}
	return events
}

// selected returns the events that a query must return, in order.
func selected(events []seeded, q chargeingest.Query) []chargeingest.StoredEvent {
	var want []chargeingest.StoredEvent
	for _, e := range events {
		if matches(&e.sent, q) {
			want = append(want, e.stored)
		}
	}
	if q.Order == chargeingest.Descending {
		slices.Reverse(want)
	}
	return want
}

func matches(e *chargeingest.NewEvent, q chargeingest.Query) bool {
	pass := func(filter, field string) bool { return filter == "" || filter == field }
	return pass(q.Reference, e.Reference) &&
		pass(q.CustomerID, e.CustomerID) &&
		pass(q.CustomerReference, e.CustomerReference) &&
		pass(q.PricingPlanSubscriptionID, e.PricingPlanSubscriptionID) &&
		pass(q.PricingPlanSubscriptionReference, e.PricingPlanSubscriptionReference) &&
		pass(q.ProductItemID, e.ProductItemID) &&
		(q.From == nil || !e.Timestamp.Before(*q.From)) &&
		(q.To == nil || e.Timestamp.Before(*q.To))
}

func (s *testedStore) wantQuery(events []seeded, q chargeingest.Query) {
	s.c.Helper()
	s.c.wantEvents("events of "+describe(q), s.pages(q), selected(events, q))
}

func (c *check) wantEvents(name string, got, want []chargeingest.StoredEvent) {
	c.Helper()
	wantList(c, "ids of "+name, ids(got), ids(want))
	for i, e := range want {
		c.wantEvent(name, got[i], e)
	}
}

func describe(q chargeingest.Query) string {
	text := "a descending listing"
	if q.Order == chargeingest.Ascending {
		text = "an ascending listing"
	}
	for _, part := range [][2]string{
		{"Platform", q.Platform},
		{"Reference", q.Reference},
		{"CustomerID", q.CustomerID},
		{"CustomerReference", q.CustomerReference},
		{"PricingPlanSubscriptionID", q.PricingPlanSubscriptionID},
		{"PricingPlanSubscriptionReference", q.PricingPlanSubscriptionReference},
		{"ProductItemID", q.ProductItemID},
		{"After", q.After},
	} {
		if part[1] != "" {
			text += fmt.Sprintf(", %s %s", part[0], show(part[1]))
		}
	}
	if q.From != nil {
		text += ", From " + q.From.Format(time.RFC3339Nano)
	}
	if q.To != nil {
		text += ", To " + q.To.Format(time.RFC3339Nano)
	}
	if q.MaxBytes > 0 {
		text += fmt.Sprintf(", MaxBytes %d", q.MaxBytes)
	}
	return fmt.Sprintf("%s, Limit %d", text, q.Limit)
}
