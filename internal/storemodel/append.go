package storemodel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
)

func (r *run) append(n int) {
	b := chargeingest.Batch{Platform: r.platform(), Route: chargeingest.RouteBatch, Duplicates: r.policy}
	if n == 1 {
		b.Route = chargeingest.RouteSingle
	}
	digest := sha256.New()
	digest.Write([]byte(b.Route))
	var references []string
	for range n {
		e := r.event()
		digest.Write(e.Digest[:])
		references = append(references, e.Reference)
		b.Events = append(b.Events, e)
	}
	digest.Sum(b.Digest[:0])
	if r.oneIn(4) {
		b.IdempotencyKey = fmt.Sprint("key-", r.choose(6))
	}
	d := r.model.decide(b)
	r.log("append to %s, key %q, policy %d: %q", b.Platform, b.IdempotencyKey, b.Duplicates, references)
	r.send(b, d)
}

func (r *run) send(b chargeingest.Batch, d decision) {
	result, err := r.subject.Store.Append(r.t.Context(), b)
	var conflict *chargeingest.ConflictError
	switch {
	case errors.As(err, &conflict):
		if want := d.conflict; want == nil || want.IdempotencyKey != conflict.IdempotencyKey || want.Index != conflict.Index || want.EventID != conflict.EventID {
			r.failf("conflict %+v, want %+v", conflict, want)
		}
	case err == nil && d.conflict != nil:
		r.failf("no error, want conflict %+v", d.conflict)
	case err == nil:
		r.receive(b, d, result)
	case r.heal == nil:
		r.failf("Append: %v", err)
	case errors.Is(err, chargeingest.ErrNotStored):
		r.log("not stored: %v", err)
	default:
		r.resolve(b, d, err)
	}
}

func (r *run) receive(b chargeingest.Batch, d decision, result chargeingest.AppendResult) {
	if len(result.Outcomes) != len(b.Events) {
		r.failf("%d outcomes for %d events", len(result.Outcomes), len(b.Events))
	}
	var ids []string
	for _, i := range d.newEvents {
		ids = append(ids, result.Outcomes[i].ID)
	}
	r.checkIDs(ids)
	r.model.store(b, d, ids)
	fresh := make(map[int]bool)
	for _, i := range d.newEvents {
		fresh[i] = true
	}
	for i, got := range result.Outcomes {
		if want := (chargeingest.Outcome{StoredEvent: d.outcomes[i].stored(), Replayed: !fresh[i]}); got != want {
			r.failf("outcome %d is %+v, want %+v", i, got, want)
		}
	}
}

func (r *run) checkIDs(ids []string) {
	last := ""
	if n := len(r.model.events); n > 0 {
		last = r.model.events[n-1].id
	}
	for _, id := range ids {
		if _, used := r.model.pruned[id]; used || id <= last {
			r.failf("id %s, which is used or not greater than %s", id, last)
		}
		last = id
	}
}

func (r *run) resolve(b chargeingest.Batch, d decision, cause error) {
	r.log("unknown: %v", cause)
	r.recoverWrites()
	if d.conflict != nil {
		return
	}
	page, err := r.subject.Store.List(r.t.Context(), chargeingest.Query{
		Platform: b.Platform, Order: chargeingest.Ascending, Limit: 100_000,
	})
	if err != nil {
		r.failf("List: %v", err)
	}
	before, _ := r.model.list(chargeingest.Query{Platform: b.Platform, Limit: 100_000}, 0)
	switch added := len(page.Events) - len(before); {
	case added == 0:
		r.send(b, d)
	case added == len(d.newEvents):
		var ids []string
		for _, e := range page.Events[len(before):] {
			ids = append(ids, e.ID)
		}
		r.checkIDs(ids)
		r.model.store(b, d, ids)
	default:
		r.failf("%d of %d events were stored", added, len(d.newEvents))
	}
}

func (r *run) event() chargeingest.NewEvent {
	reference, fields := "", 0
	switch kind := r.choose(8); {
	case kind < 3:
		fields = r.choose(256)
	case kind < 6:
		n, variant := r.choose(8), max(0, r.choose(8)-6)
		reference, fields = fmt.Sprint("r", n), 31*n+101*variant
	default:
		r.uniqueReferences++
		reference, fields = fmt.Sprint("u", r.uniqueReferences), r.choose(256)
	}
	e := chargeingest.NewEvent{
		Reference:                        reference,
		CustomerID:                       []string{"", "c0", "c1", "c2"}[fields%4],
		CustomerReference:                []string{"", "c0", "c1"}[fields/4%3],
		PricingPlanSubscriptionID:        []string{"", "s0", "s1"}[fields/12%3],
		PricingPlanSubscriptionReference: []string{"", "s0"}[fields/36%2],
		ProductItemID:                    []string{"i0", "i1"}[fields/72%2],
		ReceivedAt:                       r.now,
	}
	e.Timestamp = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(fields%7) * 10 * time.Hour)
	timestamp := e.Timestamp.In(time.FixedZone("", []int{0, 3600, -12 * 3600}[r.choose(3)])).Format(time.RFC3339)
	sent := fmt.Sprintf("%d %s %v", fields, reference, e.Timestamp.Unix())
	if fields%5 == 0 {
		e.TimestampAssigned, e.Timestamp = true, r.now.Truncate(time.Second)
		timestamp = e.Timestamp.Format(time.RFC3339)
		sent = fmt.Sprintf("%d %s", fields, reference)
	}
	e.Digest = sha256.Sum256([]byte(sent))
	e.Content = fmt.Sprintf(`{"product_item_id":%q,"customer_id":%q,"customer_reference":%q,"pricing_plan_subscription_id":%q,`+
		`"pricing_plan_subscription_reference":%q,"reference":%q,"description":"%d %s","timestamp":%q}`,
		e.ProductItemID, e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID, e.PricingPlanSubscriptionReference,
		reference, fields, strings.Repeat("x", fields), timestamp)
	return e
}
