package storemodel

import (
	"slices"
	"time"

	"example.com/chargeingest"
)

// model is everything that a store should hold.
type model struct {
	events   []*event // in storage order
	requests []*request
	position int64             // of the last event that was stored, pruned ones included
	pruned   map[string]string // platform by id
}

// event is a stored event.
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

// request is a request with an idempotency key.
type request struct {
	platform, key string
	digest        chargeingest.Digest // of everything that was sent under the key
	bound         time.Time           // of its receipt, or of its youngest event's
	events        []*event
}

// verdict is what an Append should do.
type verdict struct {
	conflict *chargeingest.ConflictError // without Fields
	outcomes []*event                    // a new one has no id yet
	fresh    []int                       // indexes of the events to store
	records  bool                        // the key
}

func (m *model) request(platform, key string) *request {
	for _, r := range m.requests {
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

// judge decides about a batch. Content is the same if its digest is.
func (m *model) judge(b chargeingest.Batch) verdict {
	if b.IdempotencyKey != "" {
		if r := m.request(b.Platform, b.IdempotencyKey); r != nil {
			if r.digest != b.Digest {
				return verdict{conflict: &chargeingest.ConflictError{IdempotencyKey: true}}
			}
			return verdict{outcomes: r.events}
		}
	}
	v := verdict{records: b.IdempotencyKey != ""}
	for i, sent := range b.Events {
		var first *event
		if sent.Reference != "" {
			first = m.byReference(b.Platform, sent.Reference)
			for _, j := range v.fresh {
				if b.Events[j].Reference == sent.Reference {
					first = v.outcomes[j]
				}
			}
		}
		if first == nil {
			first = &event{platform: b.Platform, sent: sent}
			v.fresh = append(v.fresh, i)
		} else if first.sent.Digest != sent.Digest && b.Duplicates == chargeingest.RejectConflict {
			return verdict{conflict: &chargeingest.ConflictError{Index: i, EventID: first.id}}
		}
		v.outcomes = append(v.outcomes, first)
	}
	return v
}

// store applies a verdict; ids are those of the new events.
func (m *model) store(b chargeingest.Batch, v verdict, ids []string) {
	for n, i := range v.fresh {
		e := v.outcomes[i]
		m.position++
		e.position, e.id = m.position, ids[n]
		m.events = append(m.events, e)
	}
	if !v.records {
		return
	}
	r := &request{platform: b.Platform, key: b.IdempotencyKey, digest: b.Digest, bound: b.Events[0].ReceivedAt, events: v.outcomes}
	for _, e := range r.events {
		if e.sent.ReceivedAt.After(r.bound) {
			r.bound = e.sent.ReceivedAt
		}
	}
	m.requests = append(m.requests, r)
}

// prune deletes and returns how many events it deleted.
func (m *model) prune(before time.Time) (deleted int64) {
	old := func(t time.Time) bool { return t.UnixMilli() < before.UnixMilli() }
	m.requests = slices.DeleteFunc(m.requests, func(r *request) bool { return old(r.bound) })
	held := make(map[*event]bool)
	for _, r := range m.requests {
		for _, e := range r.events {
			held[e] = true
		}
	}
	m.events = slices.DeleteFunc(m.events, func(e *event) bool {
		gone := old(e.sent.ReceivedAt) && !held[e]
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

// list returns the events of a page behind a position, if there is one, and
// whether there are more.
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
