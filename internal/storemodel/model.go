package storemodel

import (
	"slices"
	"time"

	"example.com/chargeingest"
)

type model struct {
	events   []*event // in storage order
	keys     []*keyRecord
	position int64 // of the last event, including pruned ones
	pruned   map[string]string
}

type event struct {
	position int64
	platform string
	id       string
	sent     chargeingest.NewEvent
}

func (e *event) stored() chargeingest.StoredEvent {
	return chargeingest.StoredEvent{
		ID: e.id, Content: e.sent.Content, TimestampAssigned: e.sent.TimestampAssigned, Digest: e.sent.Digest,
	}
}

type keyRecord struct {
	platform, key string
	digest        chargeingest.Digest
	newest        time.Time // latest receipt of the request or its events
	events        []*event
}

// decision is the expected result of Append.
type decision struct {
	conflict   *chargeingest.ConflictError // without Fields
	outcomes   []*event                    // new events have no id yet
	newEvents  []int
	recordsKey bool
}

func (m *model) byKey(platform, key string) *keyRecord {
	for _, r := range m.keys {
		if r.platform == platform && r.key == key {
			return r
		}
	}
	return nil
}

func (m *model) byReference(platform, reference string) *event {
	for _, e := range m.events {
		if e.platform == platform && e.sent.Reference == reference {
			return e
		}
	}
	return nil
}

func (m *model) decide(b chargeingest.Batch) decision {
	if b.IdempotencyKey != "" {
		if r := m.byKey(b.Platform, b.IdempotencyKey); r != nil {
			if r.digest != b.Digest {
				return decision{conflict: &chargeingest.ConflictError{IdempotencyKey: true}}
			}
			return decision{outcomes: r.events}
		}
	}
	d := decision{recordsKey: b.IdempotencyKey != ""}
	for i, sent := range b.Events {
		var first *event
		if sent.Reference != "" {
			first = m.byReference(b.Platform, sent.Reference)
			for _, j := range d.newEvents {
				if b.Events[j].Reference == sent.Reference {
					first = d.outcomes[j]
				}
			}
		}
		if first == nil {
			first = &event{platform: b.Platform, sent: sent}
			d.newEvents = append(d.newEvents, i)
		} else if first.sent.Digest != sent.Digest && b.Duplicates == chargeingest.RejectConflict {
			return decision{conflict: &chargeingest.ConflictError{Index: i, EventID: first.id}}
		}
		d.outcomes = append(d.outcomes, first)
	}
	return d
}

func (m *model) store(b chargeingest.Batch, d decision, ids []string) {
	for n, i := range d.newEvents {
		e := d.outcomes[i]
		m.position++
		e.position, e.id = m.position, ids[n]
		m.events = append(m.events, e)
	}
	if !d.recordsKey {
		return
	}
	r := &keyRecord{platform: b.Platform, key: b.IdempotencyKey, digest: b.Digest, newest: b.Events[0].ReceivedAt, events: d.outcomes}
	for _, e := range r.events {
		if e.sent.ReceivedAt.After(r.newest) {
			r.newest = e.sent.ReceivedAt
		}
	}
	m.keys = append(m.keys, r)
}

func (m *model) prune(before time.Time) (deleted int64) {
	old := func(t time.Time) bool { return t.UnixMilli() < before.UnixMilli() }
	m.keys = slices.DeleteFunc(m.keys, func(r *keyRecord) bool { return old(r.newest) })
	referenced := make(map[*event]bool)
	for _, r := range m.keys {
		for _, e := range r.events {
			referenced[e] = true
		}
	}
	m.events = slices.DeleteFunc(m.events, func(e *event) bool {
		gone := old(e.sent.ReceivedAt) && !referenced[e]
		if gone {
			deleted++
			if m.pruned == nil {
				m.pruned = make(map[string]string)
			}
			m.pruned[e.id] = e.platform
		}
		return gone
	})
	return deleted
}

func (m *model) list(q chargeingest.Query, after int64) (page []*event, more bool) {
	events := slices.Clone(m.events)
	if q.Order == chargeingest.Descending {
		slices.Reverse(events)
	}
	size := 0
	for _, e := range events {
		behind := q.After == "" || q.Order == chargeingest.Ascending && e.position > after ||
			q.Order == chargeingest.Descending && e.position < after
		if !behind || !matches(q, e) {
			continue
		}
		size += len(e.sent.Content)
		if len(page) == q.Limit || q.MaxBytes > 0 && size > q.MaxBytes && len(page) > 0 {
			return page, true
		}
		page = append(page, e)
	}
	return page, false
}

func matches(q chargeingest.Query, e *event) bool {
	pass := func(filter, field string) bool { return filter == "" || filter == field }
	return q.Platform == e.platform &&
		pass(q.Reference, e.sent.Reference) &&
		pass(q.CustomerID, e.sent.CustomerID) &&
		pass(q.CustomerReference, e.sent.CustomerReference) &&
		pass(q.PricingPlanSubscriptionID, e.sent.PricingPlanSubscriptionID) &&
		pass(q.PricingPlanSubscriptionReference, e.sent.PricingPlanSubscriptionReference) &&
		pass(q.ProductItemID, e.sent.ProductItemID) &&
		(q.From == nil || !e.sent.Timestamp.Before(*q.From)) &&
		(q.To == nil || e.sent.Timestamp.Before(*q.To))
}
