package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/groupcommit"
	"example.com/chargeingest/storekit"
)

type decidedGroup struct {
	results    []groupcommit.Result // of the first requests
	duplicates bool                 // replays or rejections
	rejections bool
	events     eventRows
	records    recordRows
}

type nextID func(time.Time) (string, error)

// decide ends the group at the deadline or if it has loaded too much.
func decide(ctx context.Context, group []*groupcommit.Request, l *lookup, next nextID, deadline time.Time) (*decidedGroup, error) {
	g := new(decidedGroup)
	for i, r := range group {
		if i > 0 && (l.fetchedBytes > maxPrefetchBytes || time.Now().After(deadline)) {
			break
		}
		result, err := g.decideOne(ctx, r.Attempt, l, next)
		switch {
		case err != nil && codeOf(err) != "":
			return nil, err // from a query
		case err != nil && !groupcommit.IsRejection(err):
			return nil, decisionError{err}
		}
		if err != nil {
			g.duplicates, g.rejections = true, true
		}
		g.results = append(g.results, groupcommit.Result{AppendResult: result, Err: err})
	}
	g.events.sort()
	return g, nil
}

func (g *decidedGroup) decideOne(ctx context.Context, a storekit.Attempt, l *lookup, next nextID) (chargeingest.AppendResult, error) {
	b := a.Batch
	decision, err := a.Decide(ctx, l)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	result, err := decision.Apply(func(i int) (string, error) {
		id, err := next(b.Events[i].ReceivedAt)
		if err == nil {
			g.events.add(b.Platform, id, &b.Events[i])
		}
		return id, err
	})
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	for i := range result.Outcomes {
		o := &result.Outcomes[i]
		g.duplicates = g.duplicates || o.Replayed
		if reference := b.Events[i].Reference; reference != "" && !o.Replayed {
			l.addEvent(scopedName{b.Platform, reference}, o.StoredEvent)
		}
	}
	if record := decision.IdempotencyRecord(result); record != nil {
		g.records.add(b, record)
		l.addRecord(scopedName{b.Platform, b.IdempotencyKey}, record)
	}
	return result, nil
}

func (g *decidedGroup) insert(b *pgx.Batch, sql *statements) {
	names, counts, newestIDs := g.events.platforms()
	arguments := append([]any{names, counts, newestIDs}, g.events.columns()...)
	b.Queue(sql.insert, append(arguments, g.records.columns()...)...)
}

type eventRow struct {
	platform, id string
	event        *chargeingest.NewEvent
	remaining    int64 // later rows of the platform
}

type eventRows struct{ rows []eventRow }

func (r *eventRows) len() int { return len(r.rows) }

func (r *eventRows) add(platform, id string, e *chargeingest.NewEvent) {
	r.rows = append(r.rows, eventRow{platform: platform, id: id, event: e})
}

func (r *eventRows) sort() {
	slices.SortStableFunc(r.rows, func(a, b eventRow) int { return cmp.Compare(a.platform, b.platform) })
	for i := len(r.rows) - 2; i >= 0; i-- {
		if r.rows[i].platform == r.rows[i+1].platform {
			r.rows[i].remaining = r.rows[i+1].remaining + 1
		}
	}
}

func (r *eventRows) platforms() (names []string, counts []int64, newestIDs []string) {
	for i := range r.rows {
		row := &r.rows[i]
		if n := len(names); n == 0 || names[n-1] != row.platform {
			names, counts, newestIDs = append(names, row.platform), append(counts, row.remaining+1), append(newestIDs, "")
		}
		newestIDs[len(newestIDs)-1] = row.id // ids increase
	}
	return names, counts, newestIDs
}

func (r *eventRows) columns() []any {
	column := func(value func(*eventRow) string) []string {
		list := make([]string, len(r.rows))
		for i := range r.rows {
			list[i] = value(&r.rows[i])
		}
		return list
	}
	n := len(r.rows)
	remaining, assigned, digests := make([]int64, n), make([]bool, n), make([][]byte, n)
	received, seconds, nanoseconds := make([]time.Time, n), make([]int64, n), make([]int32, n)
	for i := range r.rows {
		e := r.rows[i].event
		remaining[i], assigned[i], digests[i] = r.rows[i].remaining, e.TimestampAssigned, e.Digest[:]
		received[i], seconds[i], nanoseconds[i] = e.ReceivedAt, e.Timestamp.Unix(), int32(e.Timestamp.Nanosecond())
	}
	return []any{
		column(func(r *eventRow) string { return r.platform }), remaining,
		column(func(r *eventRow) string { return r.id }), column(func(r *eventRow) string { return r.event.Content }),
		assigned, digests, received, seconds, nanoseconds,
		column(func(r *eventRow) string { return r.event.Reference }),
		column(func(r *eventRow) string { return r.event.CustomerID }), column(func(r *eventRow) string { return r.event.CustomerReference }),
		column(func(r *eventRow) string { return r.event.PricingPlanSubscriptionID }),
		column(func(r *eventRow) string { return r.event.PricingPlanSubscriptionReference }),
		column(func(r *eventRow) string { return r.event.ProductItemID }),
	}
}

type recordRows struct {
	platforms, keys, routes []string
	digests                 [][]byte
	eventIDs                []string  // JSON arrays
	sent                    []*string // JSON arrays or nil
	received                []time.Time
}

func (r *recordRows) len() int { return len(r.keys) }

func (r *recordRows) add(b chargeingest.Batch, record *storekit.IdempotencyRecord) {
	ids, texts, hasText := make([]string, len(record.Events)), make([]*string, len(record.Events)), false
	for i := range record.Events {
		ids[i], texts[i] = record.Events[i].ID, record.Events[i].EncodeSent()
		hasText = hasText || texts[i] != nil
	}
	eventIDs, _ := json.Marshal(ids)
	var sent *string
	if hasText {
		encoded, _ := json.Marshal(texts)
		sent = new(string(encoded))
	}
	r.sent = append(r.sent, sent)
	r.platforms, r.keys, r.routes = append(r.platforms, b.Platform), append(r.keys, b.IdempotencyKey), append(r.routes, string(b.Route))
	r.digests, r.eventIDs = append(r.digests, b.Digest[:]), append(r.eventIDs, string(eventIDs))
	r.received = append(r.received, b.Events[0].ReceivedAt)
}

func (r *recordRows) columns() []any {
	return []any{r.platforms, r.keys, r.routes, r.digests, r.eventIDs, r.sent, r.received}
}
