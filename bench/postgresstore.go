package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"example.com/chargeingest"
	"example.com/chargeingest/pgstore"
	"example.com/chargeingest/storekit"
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
	ids  *storekit.IDGenerator
}

func newNaivePostgres(ctx context.Context, pool *pgxpool.Pool) (*naivePostgres, error) {
	ids, err := storekit.NewIDGenerator(nil, "")
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, "CREATE SEQUENCE IF NOT EXISTS "+benchSchema+".naive")
	return &naivePostgres{pool, ids}, err
}

// Append implements [chargeingest.EventStore].
func (n *naivePostgres) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	e := &b.Events[0]
	id, err := n.ids.Next(e.ReceivedAt)
	if err != nil {
		return chargeingest.AppendResult{}, err
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
		return chargeingest.AppendResult{}, err
	}
	return chargeingest.AppendResult{Outcomes: []chargeingest.Outcome{{StoredEvent: chargeingest.StoredEvent{
		ID: id, Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest,
	}}}}, nil
}

// postgresRawSpec is what a raw child is to do.
type postgresRawSpec struct {
	rawSpec
	Transaction int `json:"transaction"` // events of one
	Callers     int `json:"callers"`     // of the store; 0 for the loop of INSERTs
}

// postgresRaw stores without HTTP.
type postgresRaw struct {
	spec postgresRawSpec
	pool *pgxpool.Pool

	mu   sync.Mutex // one row at a time
	rows *rowSource
}

// postgresRawChild is the role of what stores without HTTP.
func postgresRawChild(ctx context.Context, up *parent, spec postgresRawSpec) (err error) {
	pool, err := pgxpool.New(context.WithoutCancel(ctx), spec.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	insert, err := pgstoreInsert(ctx, spec.Database)
	if err != nil {
		return err
	}
	r := &postgresRaw{spec: spec, pool: pool}
	if r.rows, err = newRowSource(ctx, spec.rawSpec); err != nil {
		return err
	}
	if err := up.out.Encode(true); err != nil {
		return err
	}
	if err := up.wait(ctx); err != nil {
		return err
	}
	var done outcome
	if spec.Callers > 0 {
		done, err = r.throughStore(ctx)
	} else {
		done, err = r.loop(ctx, insert)
	}
	if err != nil {
		return err
	}
	if err := up.out.Encode(done); err != nil {
		return err
	}
	<-ctx.Done() // the parent looks at this process before it ends
	return nil
}

// overheard is the statements of a connection.
type overheard struct{ statements []string }

func (o *overheard) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		o.statements = append(o.statements, q.SQL)
	}
	return ctx
}

func (*overheard) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*overheard) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (*overheard) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*overheard) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// pgstoreInsert makes the tables and returns the statement by which pgstore inserts
// into them: as it sends it, so that the loop cannot drift from the store.
func pgstoreInsert(ctx context.Context, address string) (_ string, err error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return "", err
	}
	heard := new(overheard)
	cfg.ConnConfig.Tracer = heard
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	store, err := pgstore.New(ctx, pool, pgstore.Options{Schema: benchSchema})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	heard.statements = nil
	one := chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Events: []chargeingest.NewEvent{{Content: "{}"}}}
	if _, err := store.Append(ctx, one); err != nil {
		return "", err
	}
	var inserts []string
	for _, text := range heard.statements {
		if strings.Contains(text, "INSERT INTO") {
			inserts = append(inserts, text)
		}
	}
	if len(inserts) != 1 {
		return "", fmt.Errorf("pgstore stores with %d statements, and the loop knows one: %q", len(inserts), inserts)
	}
	_, err = pool.Exec(ctx, fmt.Sprintf("TRUNCATE %[1]s.platforms, %[1]s.events, %[1]s.event_references, %[1]s.requests", benchSchema))
	return inserts[0], err
}

// loop inserts rows as pgstore does, with nothing before that: how fast the server
// can be with these tables and indexes.
func (r *postgresRaw) loop(ctx context.Context, insert string) (outcome, error) {
	pooled, err := r.pool.Acquire(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer pooled.Release()
	return r.run(ctx, 1, func(ctx context.Context) (tally, error) {
		return r.transact(ctx, pooled.Conn(), insert)
	})
}

// transact stores rows in one transaction and one round trip.
func (r *postgresRaw) transact(ctx context.Context, conn *pgx.Conn, insert string) (tally, error) {
	var stored tally
	n := r.spec.Transaction
	text := make([][]string, 8)
	behind, assigned, digests := make([]int64, n), make([]bool, n), make([][]byte, n)
	received, seconds, nanoseconds := make([]time.Time, n), make([]int64, n), make([]int32, n)
	platforms := make([]string, n)
	for i := range n {
		e, err := r.rows.next()
		if err != nil {
			return stored, err
		}
		platforms[i], behind[i], assigned[i], digests[i] = chargeingest.DefaultPlatform, int64(n-1-i), e.TimestampAssigned, e.digest
		received[i], seconds[i], nanoseconds[i] = e.received, e.Timestamp.Unix(), int32(e.Timestamp.Nanosecond())
		for c, value := range []string{e.id, e.content, e.text, e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID, e.PricingPlanSubscriptionReference, e.ProductItemID} {
			text[c] = append(text[c], value)
		}
		stored.add(e.reference)
	}
	var none []string // of idempotency keys
	b := new(pgx.Batch)
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue(insert, platforms[:1], []int64{int64(n)}, text[0][n-1:],
		platforms, behind, text[0], text[1], assigned, digests, received, seconds, nanoseconds, text[2], text[3], text[4], text[5], text[6], text[7],
		none, none, none, [][]byte(nil), none, none, []time.Time(nil))
	b.Queue("COMMIT")
	return stored, conn.SendBatch(ctx, b).Close()
}

// throughStore stores single events through pgstore, with as many callers at once
// as the handler has where it has as many connections.
func (r *postgresRaw) throughStore(ctx context.Context) (done outcome, err error) {
	store, err := pgstore.New(ctx, r.pool, pgstore.Options{Schema: benchSchema})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return r.run(ctx, r.spec.Callers, func(ctx context.Context) (tally, error) {
		var stored tally
		r.mu.Lock()
		next, err := r.rows.next()
		r.mu.Unlock()
		if err != nil {
			return stored, err
		}
		e := *next.NewEvent
		e.Content, e.Reference, e.ReceivedAt = next.content, next.text, next.received
		copy(e.Digest[:], next.digest)
		stored.add(next.reference)
		_, err = store.Append(ctx, chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Events: []chargeingest.NewEvent{e}})
		return stored, err
	})
}

// run calls store for the time that was asked for, over and over by as many at once.
func (r *postgresRaw) run(ctx context.Context, callers int, store func(context.Context) (tally, error)) (done outcome, err error) {
	begin := time.Now()
	count := begin.Add(r.spec.WarmUp)
	end := count.Add(r.spec.Time)
	var mu sync.Mutex // of all below
	latency := newHistogram()
	var counted int64
	record := func(stored tally, started, now time.Time) error {
		mu.Lock()
		defer mu.Unlock()
		done.Acknowledged.merge(stored)
		if now.Before(count) || now.After(end) {
			return nil
		}
		counted += stored.Events
		return latency.RecordValue(int64(now.Sub(started)))
	}
	all, ctx := errgroup.WithContext(ctx)
	for range callers {
		all.Go(func() error {
			for now := begin; now.Before(end); {
				stored, err := store(ctx)
				if err != nil {
					return err
				}
				started := now
				now = time.Now()
				if err := record(stored, started, now); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	err = all.Wait()
	done.Rate = float64(counted) / r.spec.Time.Seconds()
	done.Latency = percentiles(latency)
	return done, err
}

// measurePostgresRaw measures what stores without HTTP.
func (w *workshop) measurePostgresRaw(ctx context.Context, address string, row postgresRow) (m measurement, err error) {
	w.stream++
	c, err := w.start(ctx, rolePostgresRaw, postgresRawSpec{
		rawSpec{Database: address, WarmUp: w.warmUp, Time: w.time, Seed: w.seed, Stream: w.stream, Version: w.version}, row.transaction, row.callers,
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
