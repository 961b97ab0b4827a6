package storemodel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/chargeingest"
)

// append sends a batch of n events and compares the receipt.
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
	if r.chance(4) {
		b.IdempotencyKey = fmt.Sprint("key-", r.pick(6))
	}
	v := r.model.judge(b)
	r.log("append to %s, key %q, policy %d: %q", b.Platform, b.IdempotencyKey, b.Duplicates, references)
	r.send(b, v)
}

// send appends a batch and applies what became of it to the model.
func (r *run) send(b chargeingest.Batch, v verdict) {
	receipt, err := r.subject.Store.Append(r.t.Context(), b)
	var conflict *chargeingest.ConflictError
	switch {
	case errors.As(err, &conflict):
		if want := v.conflict; want == nil || want.IdempotencyKey != conflict.IdempotencyKey || want.Index != conflict.Index || want.EventID != conflict.EventID {
			r.failf("conflict %+v, want %+v", conflict, want)
		}
	case err == nil && v.conflict != nil:
		r.failf("no error, want conflict %+v", v.conflict)
	case err == nil:
		r.receive(b, v, receipt)
	case r.heal == nil:
		r.failf("Append: %v", err)
	case errors.Is(err, chargeingest.ErrNotStored):
		r.log("not stored: %v", err)
	default:
		r.resolve(b, v, err)
	}
}

// receive compares a receipt and stores the batch in the model.
func (r *run) receive(b chargeingest.Batch, v verdict, receipt chargeingest.AppendResult) {
	if len(receipt.Outcomes) != len(b.Events) {
		r.failf("%d outcomes for %d events", len(receipt.Outcomes), len(b.Events))
	}
	var ids []string
	for _, i := range v.fresh {
		ids = append(ids, receipt.Outcomes[i].ID)
	}
	r.checkNew(ids)
	r.model.store(b, v, ids)
	fresh := make(map[int]bool)
	for _, i := range v.fresh {
		fresh[i] = true
	}
	for i, got := range receipt.Outcomes {
		if want := (chargeingest.Outcome{StoredEvent: v.outcomes[i].stored(), Replayed: !fresh[i]}); got != want {
			r.failf("outcome %d is %+v, want %+v", i, got, want)
		}
	}
}

// checkNew checks that ids are greater than those stored and were never used.
func (r *run) checkNew(ids []string) {
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

// resolve finds out what became of a batch whose outcome is unknown.
func (r *run) resolve(b chargeingest.Batch, v verdict, cause error) {
	r.log("unknown: %v", cause)
	r.recover()
	if v.conflict != nil {
		return // nothing can have been stored
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
		r.send(b, v)
	case added == len(v.fresh):
		var ids []string
		for _, e := range page.Events[len(before):] {
			ids = append(ids, e.ID)
		}
		r.checkNew(ids)
		r.model.store(b, v, ids)
	default:
		r.failf("%d of %d events were stored", added, len(v.fresh))
	}
}

// event returns a new event. Those with a reference of the small alphabet have
// one of few contents, so that they are repeated, with changes at times.
func (r *run) event() chargeingest.NewEvent {
	reference, fields := "", 0
	switch kind := r.pick(8); {
	case kind < 3:
		fields = r.pick(256)
	case kind < 6:
		n, variant := r.pick(8), max(0, r.pick(8)-6)
		reference, fields = fmt.Sprint("r", n), 31*n+101*variant
	default:
		r.unique++
		reference, fields = fmt.Sprint("u", r.unique), r.pick(256)
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
	// Three spellings of an instant are the same content.
	spelled := e.Timestamp.In(time.FixedZone("", []int{0, 3600, -12 * 3600}[r.pick(3)])).Format(time.RFC3339)
	sent := fmt.Sprintf("%d %s %v", fields, reference, e.Timestamp.Unix())
	if fields%5 == 0 {
		e.TimestampAssigned, e.Timestamp = true, r.now.Truncate(time.Second)
		spelled = e.Timestamp.Format(time.RFC3339)
		sent = fmt.Sprintf("%d %s", fields, reference)
	}
	e.Digest = sha256.Sum256([]byte(sent))
	e.Content = fmt.Sprintf(`{"reference":%q,"description":"%d %s","timestamp":%q}`,
		reference, fields, strings.Repeat("x", fields), spelled)
	return e
}
