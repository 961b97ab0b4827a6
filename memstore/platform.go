package memstore

import (
	"context"
	"slices"
	"sort"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cursor"
	"example.com/chargeingest/storekit"
)

// platform has its own sequence, so that cursors reveal nothing about other tenants.
type platform struct {
	events []*event // in storage order

	byReference         map[string]*event
	byCustomerID        map[string][]*event
	byCustomerReference map[string][]*event

	records map[string]*storekit.IdempotencyRecord // by idempotency key
}

type event struct {
	id       string
	sequence int64
	*chargeingest.NewEvent
}

func newPlatform() *platform {
	return &platform{
		byReference:         make(map[string]*event),
		byCustomerID:        make(map[string][]*event),
		byCustomerReference: make(map[string][]*event),
		records:             make(map[string]*storekit.IdempotencyRecord),
	}
}

func (p *platform) IdempotencyRecord(_ context.Context, _, key string) (*storekit.IdempotencyRecord, error) {
	return p.records[key], nil
}

func (p *platform) EventByReference(_ context.Context, _, reference string) (*chargeingest.StoredEvent, error) {
	e := p.byReference[reference]
	if e == nil {
		return nil, nil
	}
	stored := e.stored()
	return &stored, nil
}

func (p *platform) insert(e *event) {
	p.events = append(p.events, e)
	e.sequence = int64(len(p.events))
	if e.Reference != "" {
		p.byReference[e.Reference] = e
	}
	if e.CustomerID != "" {
		p.byCustomerID[e.CustomerID] = append(p.byCustomerID[e.CustomerID], e)
	}
	if e.CustomerReference != "" {
		p.byCustomerReference[e.CustomerReference] = append(p.byCustomerReference[e.CustomerReference], e)
	}
}

// byID relies on ids that increase in storage order.
func (p *platform) byID(id string) *event {
	i, found := slices.BinarySearchFunc(p.events, id, func(e *event, id string) int { return strings.Compare(e.id, id) })
	if !found {
		return nil
	}
	return p.events[i]
}

func (p *platform) list(q chargeingest.Query, after int64) chargeingest.Page {
	candidates := p.candidates(q)
	if q.Order == chargeingest.Ascending {
		candidates = candidates[indexAfter(candidates, after):]
	} else if q.After != "" {
		candidates = candidates[:indexAfter(candidates, after-1)]
	}
	var page chargeingest.Page
	last, size := after, 0
	for i, e := range candidates {
		if q.Order != chargeingest.Ascending {
			e = candidates[len(candidates)-1-i]
		}
		if !e.matches(q) {
			continue
		}
		size += len(e.Content)
		tooLarge := q.MaxBytes > 0 && size > q.MaxBytes && len(page.Events) > 0
		if tooLarge || len(page.Events) == q.Limit {
			page.Next = cursor.Encode(last)
			break
		}
		page.Events = append(page.Events, e.stored())
		last = e.sequence
	}
	if q.Order == chargeingest.Ascending {
		if page.Next == "" {
			last = int64(len(p.events)) // all were examined
		}
		page.Position = cursor.Encode(last)
	}
	return page
}

func indexAfter(events []*event, sequence int64) int {
	return sort.Search(len(events), func(i int) bool { return events[i].sequence > sequence })
}

func (p *platform) candidates(q chargeingest.Query) []*event {
	switch {
	case q.Reference != "":
		if e := p.byReference[q.Reference]; e != nil {
			return []*event{e}
		}
		return nil
	case q.CustomerID != "":
		return p.byCustomerID[q.CustomerID]
	case q.CustomerReference != "":
		return p.byCustomerReference[q.CustomerReference]
	}
	return p.events
}

func (e *event) matches(q chargeingest.Query) bool {
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

func (e *event) stored() chargeingest.StoredEvent {
	return chargeingest.StoredEvent{
		ID:                e.id,
		Content:           e.Content,
		TimestampAssigned: e.TimestampAssigned,
		Digest:            e.Digest,
	}
}
