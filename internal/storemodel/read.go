package storemodel

import (
	"errors"
	"fmt"
	"time"

	"example.com/chargeingest"
)

// cursor is one that a store returned. It is used again after other steps.
type cursor struct {
	query chargeingest.Query // with the cursor in After
	at    int64              // its position in the model
}

// maxCursors is how many cursors are kept.
const maxCursors = 16

// keep remembers a cursor, in the place of another one if there are many.
func (r *run) keep(c cursor) {
	if len(r.cursors) < maxCursors {
		r.cursors = append(r.cursors, c)
	} else {
		r.cursors[r.pick(maxCursors)] = c
	}
}

// compare lists a page behind a position, if q.After is set, and returns the
// cursors to go on from: the one of the next page, if there is one, and that of
// Page.Position, if the order is ascending.
func (r *run) compare(q chargeingest.Query, after int64) (next, position cursor) {
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

// list compares a page of a random query.
func (r *run) list() {
	q := r.query(r.platform())
	q.Order = chargeingest.Order(r.pick(2))
	r.bound(&q, 0)
	r.log("list %s", describe(q))
	r.keepThose(r.compare(q, 0))
}

func (r *run) keepThose(next, position cursor) {
	if next.query.After != "" {
		r.keep(next)
	}
	if position.query.After != "" {
		r.keep(position)
	}
}

// resume lists from a cursor of any earlier page. It may change the filters and
// the bounds of the page, and the cursor follows the events of its platform.
func (r *run) resume() {
	if len(r.cursors) == 0 {
		return
	}
	i := r.pick(len(r.cursors))
	c := r.cursors[i]
	q := c.query
	if r.chance(4) {
		q = r.query(q.Platform)
		q.Order, q.After = c.query.Order, c.query.After
	}
	r.bound(&q, c.at)
	r.log("resume %s at %d", describe(q), c.at)
	next, position := r.compare(q, c.at)
	if q.Order == chargeingest.Ascending {
		r.cursors[i] = position
	} else {
		r.keepThose(next, position)
	}
}

// pageThrough lists everything in small pages.
func (r *run) pageThrough() {
	q := r.query(r.platform())
	q.Order = chargeingest.Order(r.pick(2))
	r.bound(&q, 0)
	r.log("page through %s", describe(q))
	for c := (cursor{query: q}); ; {
		c, _ = r.compare(c.query, c.at)
		if c.query.After == "" {
			return
		}
	}
}

// bound sets the bounds of a page behind a position, sometimes to the exact size
// of its first events.
func (r *run) bound(q *chargeingest.Query, after int64) {
	q.Limit, q.MaxBytes = 1+r.pick(3), 0
	if !r.chance(4) {
		q.Limit = 1 + r.pick(5)
		return
	}
	page, _ := r.model.list(*q, after)
	for _, e := range page {
		q.MaxBytes += len(e.sent.Content)
	}
	q.Limit, q.MaxBytes = 5, max(1, q.MaxBytes+r.pick(3)-1)
}

// query returns a query with some filters.
func (r *run) query(platform string) chargeingest.Query {
	q := chargeingest.Query{Platform: platform}
	set := func(field *string, prefix string, n int) {
		if r.chance(4) {
			*field = fmt.Sprint(prefix, r.pick(n))
		}
	}
	if r.chance(6) {
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

// instant returns the end of a range of timestamps, more often none.
func (r *run) instant() *time.Time {
	if !r.chance(5) {
		return nil
	}
	t := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.pick(8)) * 10 * time.Hour)
	if r.chance(3) {
		t = r.now
	}
	return &t
}

// reference returns one that was most likely used.
func (r *run) reference() string {
	if r.unique == 0 || r.chance(2) {
		return fmt.Sprint("r", r.pick(8))
	}
	return fmt.Sprint("u", 1+r.pick(256)*r.pick(256)%r.unique)
}

// get reads events by their ids: stored ones, pruned ones and those of another
// platform.
func (r *run) get() {
	if len(r.model.events) == 0 {
		return
	}
	e := r.model.events[r.pick(256)*r.pick(256)%len(r.model.events)]
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

// whole is a limit beyond every listing.
const whole = 100_000

// compareSome compares indexed listings and the newest events of a platform.
func (r *run) compareSome() {
	platform := platforms()[len(r.trace)%len(platforms())]
	order := chargeingest.Order(len(r.trace) / len(platforms()) % 2)
	for _, q := range []chargeingest.Query{
		{Limit: 3}, {CustomerID: "c0"}, {CustomerID: "c1"}, {CustomerReference: "c0"}, {CustomerReference: "c1"},
		{Reference: fmt.Sprint("r", len(r.trace)%8)}, {Reference: fmt.Sprint("u", r.unique)},
	} {
		q.Platform, q.Order = platform, order
		if q.Limit == 0 {
			q.Limit = whole
		}
		r.compare(q, 0)
	}
}

// compareAll compares every listing by one filter in both orders, and each event
// by its reference and id.
func (r *run) compareAll() {
	for _, platform := range platforms() {
		for order := range chargeingest.Order(2) {
			for _, q := range []chargeingest.Query{
				{}, {CustomerID: "c0"}, {CustomerID: "c1"}, {CustomerID: "c2"}, {CustomerID: "c3"},
				{CustomerReference: "c0"}, {CustomerReference: "c1"}, {CustomerReference: "c2"}, {CustomerID: "c0", CustomerReference: "c0"},
				{PricingPlanSubscriptionID: "s0"}, {PricingPlanSubscriptionReference: "s0"}, {ProductItemID: "i0"}, {ProductItemID: "i2"},
			} {
				q.Platform, q.Order, q.Limit = platform, order, whole
				r.compare(q, 0)
			}
		}
		for n := range 8 {
			r.compare(chargeingest.Query{Platform: platform, Reference: fmt.Sprint("r", n), Limit: 2}, 0)
		}
	}
	for _, e := range r.model.events {
		if e.sent.Reference != "" {
			r.compare(chargeingest.Query{Platform: e.platform, Reference: e.sent.Reference, Limit: 2}, 0)
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

// describe prints a query with its instants.
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
