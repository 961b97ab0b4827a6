package storetest

import (
	"fmt"
	"slices"
	"time"

	"example.com/chargeingest"
)

// queries returns combinations: a store may violate a rule in one.
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

type seeded struct {
	stored chargeingest.StoredEvent
	sent   chargeingest.NewEvent
}

func (s *testedStore) seed(platform string, drafts ...draft) []seeded {
	s.c.Helper()
	b := batch(platform, drafts...)
	events := make([]seeded, len(drafts))
	for i, o := range s.appendNew(b) {
		events[i] = seeded{o.StoredEvent, b.Events[i]}
	}
	return events
}

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
	if q.Limit > 0 {
		text += fmt.Sprintf(", Limit %d", q.Limit)
	}
	return text
}
