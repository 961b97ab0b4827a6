package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/storekit"
)

// group is what becomes of the requests of one transaction, once it is
// committed.
type group struct {
	answers []groupcommit.Answer // one for each request that was decided
	known   bool                 // something was stored before, or refused
	refused bool
	rows    rows
	keys    keys
}

// nextID makes an id.
type nextID func(time.Time) (string, error)

// decide settles requests in their order, each by what is known and by what the
// ones before it store. To compare large contents takes time and memory: where a
// group has had its share of these, it ends before the next request.
func decide(ctx context.Context, requests []*groupcommit.Request, k *known, next nextID, until time.Time) (*group, error) {
	g := new(group)
	for i, r := range requests {
		if i > 0 && (k.fetched > maxFound || time.Now().After(until)) {
			break
		}
		receipt, err := g.decideOne(ctx, r.Attempt, k, next)
		switch {
		case err != nil && codeOf(err) != "":
			return nil, err // of the search for something that is known
		case err != nil && !isRefusal(err):
			return nil, undecidedError{err}
		}
		if err != nil {
			g.known, g.refused = true, true
		}
		g.answers = append(g.answers, groupcommit.Answer{Receipt: receipt, Err: err})
	}
	g.rows.sort()
	return g, nil
}

func (g *group) decideOne(ctx context.Context, a storekit.Attempt, k *known, next nextID) (chargeingest.AppendResult, error) {
	b := a.Batch
	decision, err := a.Decide(ctx, k)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	receipt, err := decision.Apply(func(i int) (string, error) {
		id, err := next(b.Events[i].ReceivedAt)
		if err == nil {
			g.rows.add(b.Platform, id, &b.Events[i])
		}
		return id, err
	})
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	for i := range receipt.Outcomes {
		o := &receipt.Outcomes[i]
		g.known = g.known || o.Replayed
		if reference := b.Events[i].Reference; reference != "" && !o.Replayed {
			k.store(b.Platform, reference, o.StoredEvent)
		}
	}
	if bound := decision.IdempotencyRecord(receipt); bound != nil {
		g.keys.add(b, bound)
		k.bind(b, bound)
	}
	return receipt, nil
}

// isRefusal says that a batch was decided against before anything was written.
func isRefusal(err error) bool {
	var conflict *chargeingest.ConflictError
	return errors.As(err, &conflict) || errors.Is(err, chargeingest.ErrNotStored)
}

// insert queues the statement that stores the group.
func (g *group) insert(b *pgx.Batch, sql *statements) {
	names, counts, newest := g.rows.platforms()
	arguments := append([]any{names, counts, newest}, g.rows.columns()...)
	b.Queue(sql.insert, append(arguments, g.keys.columns()...)...)
}

// row is an event that gets one.
type row struct {
	platform, id string
	event        *chargeingest.NewEvent
	behind       int64 // how many of its platform come after it
}

// rows are the events that get one, in the order of storing within each platform.
type rows struct{ list []row }

func (r *rows) len() int { return len(r.list) }

func (r *rows) add(platform, id string, e *chargeingest.NewEvent) {
	r.list = append(r.list, row{platform: platform, id: id, event: e})
}

// sort brings the platforms together, in the order in which they are locked.
func (r *rows) sort() {
	slices.SortStableFunc(r.list, func(a, b row) int { return cmp.Compare(a.platform, b.platform) })
	for i := len(r.list) - 2; i >= 0; i-- {
		if r.list[i].platform == r.list[i+1].platform {
			r.list[i].behind = r.list[i+1].behind + 1
		}
	}
}

// platforms are the names, sorted, the numbers of events, and the newest ids.
func (r *rows) platforms() (names []string, counts []int64, newest []string) {
	for i := range r.list {
		e := &r.list[i]
		if n := len(names); n == 0 || names[n-1] != e.platform {
			names, counts, newest = append(names, e.platform), append(counts, e.behind+1), append(newest, "")
		}
		newest[len(newest)-1] = e.id // ids increase
	}
	return names, counts, newest
}

// columns are the arguments of insertEvents.
func (r *rows) columns() []any {
	column := func(value func(*row) string) []string {
		list := make([]string, len(r.list))
		for i := range r.list {
			list[i] = value(&r.list[i])
		}
		return list
	}
	n := len(r.list)
	behind, assigned, digests := make([]int64, n), make([]bool, n), make([][]byte, n)
	received, seconds, nanoseconds := make([]time.Time, n), make([]int64, n), make([]int32, n)
	for i := range r.list {
		e := r.list[i].event
		behind[i], assigned[i], digests[i] = r.list[i].behind, e.TimestampAssigned, e.Digest[:]
		received[i], seconds[i], nanoseconds[i] = e.ReceivedAt, e.Timestamp.Unix(), int32(e.Timestamp.Nanosecond())
	}
	return []any{
		column(func(r *row) string { return r.platform }), behind,
		column(func(r *row) string { return r.id }), column(func(r *row) string { return r.event.Content }),
		assigned, digests, received, seconds, nanoseconds,
		column(func(r *row) string { return r.event.Reference }),
		column(func(r *row) string { return r.event.CustomerID }), column(func(r *row) string { return r.event.CustomerReference }),
		column(func(r *row) string { return r.event.PricingPlanSubscriptionID }),
		column(func(r *row) string { return r.event.PricingPlanSubscriptionReference }),
		column(func(r *row) string { return r.event.ProductItemID }),
	}
}

// keys are the idempotency keys that are bound.
type keys struct {
	platforms, keys, routes []string
	digests                 [][]byte
	ids                     []string  // JSON lists
	sent                    []*string // JSON lists; nil if no event has one
	received                []time.Time
}

func (k *keys) len() int { return len(k.keys) }

func (k *keys) add(b chargeingest.Batch, bound *storekit.IdempotencyRecord) {
	ids, texts, differ := make([]string, len(bound.Events)), make([]*string, len(bound.Events)), false
	for i := range bound.Events {
		ids[i], texts[i] = bound.Events[i].ID, bound.Events[i].EncodeSent()
		differ = differ || texts[i] != nil
	}
	text, _ := json.Marshal(ids) // a list of strings always is JSON
	var list *string
	if differ {
		encoded, _ := json.Marshal(texts)
		list = new(string(encoded))
	}
	k.sent = append(k.sent, list)
	k.platforms, k.keys, k.routes = append(k.platforms, b.Platform), append(k.keys, b.IdempotencyKey), append(k.routes, string(b.Route))
	k.digests, k.ids = append(k.digests, b.Digest[:]), append(k.ids, string(text))
	k.received = append(k.received, b.Events[0].ReceivedAt)
}

// columns are the arguments of insertRequests.
func (k *keys) columns() []any {
	return []any{k.platforms, k.keys, k.routes, k.digests, k.ids, k.sent, k.received}
}
