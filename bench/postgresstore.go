package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"example.com/chargeingest"
	"example.com/chargeingest/eventid"
	"example.com/chargeingest/pgstore"
)

// benchSchema is where the tables of a measurement are.
const benchSchema = "chargeingest_bench"

// openPostgres is a server over pgstore, or over the store as one writes it by
// hand.
func openPostgres(ctx context.Context, spec serverSpec) (*service, error) {
	cfg, err := pgxpool.ParseConfig(spec.Database)
	if err != nil {
		return nil, err
	}
	if spec.Serve == servePostgresNaive {
		cfg.MaxConns = 32
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, err
	}
	store, err := pgstore.New(ctx, pool, pgstore.Options{Schema: benchSchema})
	if err != nil {
		pool.Close()
		return nil, err
	}
	var behind chargeingest.EventStore = store
	if spec.Serve == servePostgresNaive {
		if behind, err = newNaivePostgres(ctx, pool); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	h, err := newHandler(behind)
	none := func(context.Context) (tally, error) { return tally{}, nil }
	return &service{h, none, func() error {
		err := store.Close()
		pool.Close()
		return err
	}}, err
}

// naivePostgres stores each request in a transaction of its own, in the tables
// of pgstore. It is for one event, with a reference that is new.
type naivePostgres struct {
	pool *pgxpool.Pool
	ids  *eventid.Generator
}

func newNaivePostgres(ctx context.Context, pool *pgxpool.Pool) (*naivePostgres, error) {
	ids, err := eventid.NewGenerator(nil, "")
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, "CREATE SEQUENCE IF NOT EXISTS "+benchSchema+".naive")
	return &naivePostgres{pool, ids}, err
}

// Append implements [chargeingest.EventStore].
func (n *naivePostgres) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.Receipt, error) {
	e := &b.Events[0]
	id, err := n.ids.Next(e.ReceivedAt)
	if err != nil {
		return chargeingest.Receipt{}, err
	}
	// A batch without a BEGIN is one transaction, in one round trip.
	batch := new(pgx.Batch)
	batch.Queue(`INSERT INTO `+benchSchema+`.events (platform, seq, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
VALUES ($1, nextval('`+benchSchema+`.naive'), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		b.Platform, id, e.Content, e.TimestampAssigned, e.Digest[:], e.ReceivedAt, e.Timestamp.Unix(), e.Timestamp.Nanosecond(),
		e.Reference, e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID, e.PricingPlanSubscriptionReference, e.ProductItemID)
	batch.Queue(`INSERT INTO `+benchSchema+`.event_references (platform, reference, seq) VALUES ($1, $2, currval('`+benchSchema+`.naive'))`, b.Platform, e.Reference)
	if err := n.pool.SendBatch(ctx, batch).Close(); err != nil {
		return chargeingest.Receipt{}, err
	}
	return chargeingest.Receipt{Outcomes: []chargeingest.Outcome{{StoredEvent: chargeingest.StoredEvent{
		ID: id, Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest,
	}}}}, nil
}

// postgresLoop inserts rows into the tables of pgstore as its writer does, with
// nothing before that: how fast the server can be with these tables and indexes.
type postgresLoop struct {
	conn *pgx.Conn
	rows *rowSource
}

// The statements of pgstore for events that are new, as they stand in its file
// statements.go.
const (
	loopClaim = `INSERT INTO ` + benchSchema + `.platforms AS p (name, last, last_id)
SELECT t.name, t.events, t.id FROM unnest($1::text[], $2::bigint[], $3::text[]) AS t(name, events, id)
ON CONFLICT (name) DO UPDATE SET last = p.last + excluded.last, last_id = greatest(p.last_id, excluded.last_id)`
	loopEvents = `INSERT INTO ` + benchSchema + `.events (platform, seq, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
SELECT e.platform, p.last - e.behind, e.id, e.content, e.timestamp_assigned, e.digest, e.received_at, e.timestamp_s, e.timestamp_ns,
e.reference, e.customer_id, e.customer_reference, e.pricing_plan_subscription_id, e.pricing_plan_subscription_reference, e.product_item_id
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::boolean[], $6::bytea[], $7::timestamptz[], $8::bigint[], $9::integer[],
$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
AS e(platform, behind, id, content, timestamp_assigned, digest, received_at, timestamp_s, timestamp_ns,
reference, customer_id, customer_reference, pricing_plan_subscription_id, pricing_plan_subscription_reference, product_item_id)
JOIN ` + benchSchema + `.platforms p ON p.name = e.platform`
	loopReferences = `INSERT INTO ` + benchSchema + `.event_references (platform, reference, seq)
SELECT r.platform, r.reference, p.last - r.behind FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r(platform, reference, behind)
JOIN ` + benchSchema + `.platforms p ON p.name = r.platform`
)

// transact stores n rows in one transaction and one round trip.
func (l *postgresLoop) transact(ctx context.Context, n int) (tally, error) {
	var stored tally
	text := make([][]string, 8)
	behind, assigned, digests := make([]int64, n), make([]bool, n), make([][]byte, n)
	received, seconds, nanoseconds := make([]time.Time, n), make([]int64, n), make([]int32, n)
	platforms := make([]string, n)
	for i := range n {
		r, err := l.rows.next()
		if err != nil {
			return stored, err
		}
		platforms[i], behind[i], assigned[i], digests[i] = chargeingest.SinglePlatform, int64(n-1-i), r.TimestampAssigned, r.digest
		received[i], seconds[i], nanoseconds[i] = r.received, r.Timestamp.Unix(), int32(r.Timestamp.Nanosecond())
		for c, value := range []string{r.id, r.content, r.text, r.CustomerID, r.CustomerReference, r.PricingPlanSubscriptionID, r.PricingPlanSubscriptionReference, r.ProductItemID} {
			text[c] = append(text[c], value)
		}
		stored.add(r.reference)
	}
	b := new(pgx.Batch)
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue(loopClaim, platforms[:1], []int64{int64(n)}, text[0][n-1:])
	b.Queue(loopEvents, platforms, behind, text[0], text[1], assigned, digests, received, seconds, nanoseconds, text[2], text[3], text[4], text[5], text[6], text[7])
	b.Queue(loopReferences, platforms, text[2], behind)
	b.Queue("COMMIT")
	return stored, l.conn.SendBatch(ctx, b).Close()
}

// postgresRawSpec is what a raw child is to do.
type postgresRawSpec struct {
	rawSpec
	Transaction int `json:"transaction"`
}

// postgresRawChild is the role of the loop.
func postgresRawChild(ctx context.Context, up *parent, spec postgresRawSpec) (err error) {
	cfg, err := pgxpool.ParseConfig(spec.Database)
	if err != nil {
		return err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := pgstore.New(ctx, pool, pgstore.Options{Schema: benchSchema})
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	pooled, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer pooled.Release()
	l := &postgresLoop{conn: pooled.Conn()}
	if l.rows, err = newRowSource(ctx, spec.rawSpec); err != nil {
		return err
	}
	if err := up.out.Encode(true); err != nil {
		return err
	}
	if err := up.wait(ctx); err != nil {
		return err
	}
	done, err := l.run(ctx, spec)
	if err != nil {
		return err
	}
	if err := up.out.Encode(done); err != nil {
		return err
	}
	<-ctx.Done() // the parent looks at this process before it ends
	return nil
}

// run stores for the time that was asked for.
func (l *postgresLoop) run(ctx context.Context, spec postgresRawSpec) (done outcome, err error) {
	latency := newHistogram()
	begin := time.Now()
	count := begin.Add(spec.WarmUp)
	end := count.Add(spec.Time)
	var counted int64
	for now := begin; now.Before(end) && ctx.Err() == nil; {
		stored, err := l.transact(ctx, spec.Transaction)
		if err != nil {
			return done, err
		}
		done.Acknowledged.merge(stored)
		started := now
		now = time.Now()
		if now.Before(count) || now.After(end) {
			continue
		}
		counted += stored.Events
		if err := latency.RecordValue(int64(now.Sub(started))); err != nil {
			return done, err
		}
	}
	done.Rate = float64(counted) / spec.Time.Seconds()
	done.Latency = percentiles(latency)
	return done, ctx.Err()
}

// measurePostgresRaw measures the loop.
func (w *workshop) measurePostgresRaw(ctx context.Context, address string, row postgresRow) (m measurement, err error) {
	w.stream++
	c, err := w.start(ctx, rolePostgresRaw, postgresRawSpec{
		rawSpec{Database: address, WarmUp: w.warmUp, Time: w.time, Seed: w.seed, Stream: w.stream, Version: w.version}, row.transaction,
	})
	if err != nil {
		return m, err
	}
	defer c.abandon()
	if m, err = c.work(c); err != nil {
		return m, err
	}
	if err := c.stop(nil); err != nil {
		return m, err
	}
	m.atExit(c)
	return m, nil
}
