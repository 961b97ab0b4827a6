package storemodel

import (
	"errors"
	"fmt"
	"time"

	"example.com/chargeingest"
)

type cursor struct {
	query    chargeingest.Query // After is the cursor
	position int64              // in the model
}

const maxCursors = 16

func (r *run) keepCursor(c cursor) {
	if len(r.cursors) < maxCursors {
		r.cursors = append(r.cursors, c)
	} else {
		r.cursors[r.choose(maxCursors)] = c
	}
}

func (r *run) comparePage(q chargeingest.Query, after int64) (next, position cursor) {
	r.t.Helper()
	page, err := r.subject.Store.List(r.t.Context(), q)
	if err != nil {
		r.failf("List(%s): %v", describe(q), err)
	}
	want, more := r.model.list(q, after)
	if len(page.Events) != len(want) {
		r.failf("List(%s) returned %d events, want %d\ngot:  %v\nwant: %v", describe(q), len(page.Events), len(want), storedIDs(page.Events), eventIDs(want))
	}
	for i, e := range page.Events {
		if e != want[i].stored() {
			r.failf("List(%s): event %d is %+v, want %+v", describe(q), i, e, want[i].stored())
		}
	}
	if (page.Next != "") != more || (page.Position != "") != (q.Order == chargeingest.Ascending) {
		r.failf("List(%s) returned Next %q and Position %q; more: %v", describe(q), page.Next, page.Position, more)
	}
	last := r.model.position
	if more {
		last = want[len(want)-1].position
	}
	next, position = cursor{q, last}, cursor{q, last}
	next.query.After, position.query.After = page.Next, page.Position
	return next, position
}

func (r *run) list() {
	q := r.query(r.platform())
	q.Order = chargeingest.Order(r.choose(2))
	r.setLimits(&q, 0)
	r.log("list %s", describe(q))
	r.keepCursors(r.comparePage(q, 0))
}

func (r *run) keepCursors(next, position cursor) {
	if next.query.After != "" {
		r.keepCursor(next)
	}
	if position.query.After != "" {
		r.keepCursor(position)
	}
}

func (r *run) resume() {
	if len(r.cursors) == 0 {
		return
	}
	i := r.choose(len(r.cursors))
	c := r.cursors[i]
	q := c.query
	if r.oneIn(4) {
		q = r.query(q.Platform)
		q.Order, q.After = c.query.Order, c.query.After
	}
	r.setLimits(&q, c.position)
	r.log("resume %s at %d", describe(q), c.position)
	next, position := r.comparePage(q, c.position)
	if q.Order == chargeingest.Ascending {
		r.cursors[i] = position
	} else {
		r.keepCursors(next, position)
	}
}

func (r *run) pageThrough() {
	q := r.query(r.platform())
	q.Order = chargeingest.Order(r.choose(2))
	r.setLimits(&q, 0)
	r.log("page through %s", describe(q))
	for c := (cursor{query: q}); ; {
		c, _ = r.comparePage(c.query, c.position)
		if c.query.After == "" {
			return
		}
	}
}

func (r *run) setLimits(q *chargeingest.Query, after int64) {
	q.Limit, q.MaxBytes = 1+r.choose(3), 0
	if !r.oneIn(4) {
		q.Limit = 1 + r.choose(5)
		return
	}
	page, _ := r.model.list(*q, after)
	for _, e := range page {
		q.MaxBytes += len(e.sent.Content)
	}
	q.Limit, q.MaxBytes = 5, max(1, q.MaxBytes+r.choose(3)-1)
}

func (r *run) query(platform string) chargeingest.Query {
	q := chargeingest.Query{Platform: platform}
	set := func(field *string, prefix string, n int) {
		if r.oneIn(4) {
			*field = fmt.Sprint(prefix, r.choose(n))
		}
	}
	if r.oneIn(6) {
		q.Reference = r.reference()
	}
	set(&q.CustomerID, "c", 4)
	set(&q.CustomerReference, "c", 3)
	set(&q.PricingPlanSubscriptionID, "s", 3)
	set(&q.PricingPlanSubscriptionReference, "s", 2)
	set(&q.ProductItemID, "i", 3)
	q.From, q.To = r.instant(), r.instant()
	return q
}

func (r *run) instant() *time.Time {
	if !r.oneIn(5) {
		return nil
	}
	t := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.choose(8)) * 10 * time.Hour)
	if r.oneIn(3) {
		t = r.now
	}
	return &t
}

func (r *run) reference() string {
	if r.uniqueReferences == 0 || r.oneIn(2) {
		return fmt.Sprint("r", r.choose(8))
	}
	return fmt.Sprint("u", 1+r.choose(256)*r.choose(256)%r.uniqueReferences)
}

func (r *run) get() {
	if len(r.model.events) == 0 {
		return
	}
	e := r.model.events[r.choose(256)*r.choose(256)%len(r.model.events)]
	platform := r.platform()
	r.log("get %s of %s", e.id, platform)
	got, err := r.subject.Store.Get(r.t.Context(), platform, e.id)
	if platform == e.platform && (err != nil || got != e.stored()) || platform != e.platform && !errors.Is(err, chargeingest.ErrNotFound) {
		r.failf("Get(%s, %s), an event of %s, returned %+v, %v", platform, e.id, e.platform, got, err)
	}
	for id, platform := range r.model.pruned {
		if _, err := r.subject.Store.Get(r.t.Context(), platform, id); !errors.Is(err, chargeingest.ErrNotFound) {
			r.failf("Get(%s, %s), a pruned event, returned %v", platform, id, err)
		}
		break
	}
}

const noLimit = 100_000

func (r *run) compareSome() {
	platform := platforms()[len(r.trace)%len(platforms())]
	order := chargeingest.Order(len(r.trace) / len(platforms()) % 2)
	for _, q := range []chargeingest.Query{
		{Limit: 3}, {CustomerID: "c0"}, {CustomerID: "c1"}, {CustomerReference: "c0"}, {CustomerReference: "c1"},
		{Reference: fmt.Sprint("r", len(r.trace)%8)}, {Reference: fmt.Sprint("u", r.uniqueReferences)},
	} {
		q.Platform, q.Order = platform, order
		if q.Limit == 0 {
			q.Limit = noLimit
		}
		r.comparePage(q, 0)
	}
}

func (r *run) compareAll() {
	for _, platform := range platforms() {
		for order := range chargeingest.Order(2) {
			for _, q := range []chargeingest.Query{
				{}, {CustomerID: "c0"}, {CustomerID: "c1"}, {CustomerID: "c2"}, {CustomerID: "c3"},
				{CustomerReference: "c0"}, {CustomerReference: "c1"}, {CustomerReference: "c2"}, {CustomerID: "c0", CustomerReference: "c0"},
				{PricingPlanSubscriptionID: "s0"}, {PricingPlanSubscriptionReference: "s0"}, {ProductItemID: "i0"}, {ProductItemID: "i2"},
			} {
				q.Platform, q.Order, q.Limit = platform, order, noLimit
				r.comparePage(q, 0)
			}
		}
		for n := range 8 {
			r.comparePage(chargeingest.Query{Platform: platform, Reference: fmt.Sprint("r", n), Limit: 2}, 0)
		}
	}
	for _, e := range r.model.events {
		if e.sent.Reference != "" {
			r.comparePage(chargeingest.Query{Platform: e.platform, Reference: e.sent.Reference, Limit: 2}, 0)
		}
		if got, err := r.subject.Store.Get(r.t.Context(), e.platform, e.id); err != nil || got != e.stored() {
			r.failf("Get(%s) returned %+v, %v, want %+v", e.id, got, err, e.stored())
		}
	}
	r.verify()
}

func (r *run) verify() {
	if r.subject.Verify == nil {
		return
	}
	if err := r.subject.Verify(); err != nil {
		r.failf("verify: %v", err)
	}
}

func storedIDs(events []chargeingest.StoredEvent) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func eventIDs(events []*event) (ids []string) {
	for _, e := range events {
		ids = append(ids, e.id)
	}
	return ids
}

func describe(q chargeingest.Query) string {
	text := func(t *time.Time) string {
		if t == nil {
			return "none"
		}
		return t.Format(time.RFC3339)
	}
	from, to := text(q.From), text(q.To)
	q.From, q.To = nil, nil
	return fmt.Sprintf("%+v, from %s to %s", q, from, to)
}
