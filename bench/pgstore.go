package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jackc/pgx/v5/tracelog"

	"example.com/chargeingest"
	"example.com/chargeingest/pgstore"
	"example.com/chargeingest/storekit"
)

const (
	pgSchema = "chargeingest_bench"

	postgresCallers = 64
)

// newPostgresDatabase runs a checkpoint: no earlier data is written meanwhile.
func newPostgresDatabase(ctx context.Context, address string) (*database, error) {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, "CHECKPOINT"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &database{
		address: address,
		verify: func(ctx context.Context, acknowledged tally) error {
			return verifyReferences(ctx, db, "SELECT reference FROM "+pgSchema+".events", acknowledged)
		},
		remove: func() error {
			_, err := db.ExecContext(context.WithoutCancel(ctx), "DROP SCHEMA IF EXISTS "+pgSchema+" CASCADE")
			return errors.Join(err, db.Close())
		},
	}, nil
}

type pgDatabase struct {
	*pgstore.Store
	pool *pgxpool.Pool
}

func openPgstore(ctx context.Context, address string, configure func(*pgxpool.Config)) (*pgDatabase, error) {
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	configure(cfg)
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg)
	if err != nil {
		return nil, err
	}
	store, err := pgstore.New(ctx, pool, pgstore.Options{Schema: pgSchema})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &pgDatabase{store, pool}, nil
}

func (d *pgDatabase) closeAll() error {
	defer d.pool.Close()
	return d.Close()
}

func openPostgres(ctx context.Context, spec serverSpec) (*service, error) {
	db, err := openPgstore(ctx, spec.Database, func(cfg *pgxpool.Config) {
		if spec.Backend == backendPostgresNaive {
			cfg.MaxConns = 32
		}
	})
	if err != nil {
		return nil, err
	}
	var store chargeingest.EventStore = db
	if spec.Backend == backendPostgresNaive {
		if store, err = newNaivePostgres(ctx, db.pool); err != nil {
			return nil, errors.Join(err, db.closeAll())
		}
	}
	h, err := newHandler(store)
	return &service{Handler: h, close: db.closeAll}, err
}

// naivePostgres stores one event per transaction in the tables of pgstore. References must be
// new.
type naivePostgres struct {
	pool *pgxpool.Pool
	ids  *storekit.IDGenerator
}

func newNaivePostgres(ctx context.Context, pool *pgxpool.Pool) (*naivePostgres, error) {
	ids, err := storekit.NewIDGenerator(nil, "")
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, "CREATE SEQUENCE IF NOT EXISTS "+pgSchema+".naive")
	return &naivePostgres{pool, ids}, err
}

func (n *naivePostgres) Append(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	e := &b.Events[0]
	id, err := n.ids.Next(e.ReceivedAt)
	if err != nil {
		return chargeingest.AppendResult{}, err
	}
	// Without BEGIN, the batch is one transaction.
	batch := new(pgx.Batch)
	batch.Queue(`INSERT INTO `+pgSchema+`.events (platform, seq, id, content, timestamp_assigned, digest, received_at,
timestamp_s, timestamp_ns, reference, customer_id, customer_reference, pricing_plan_subscription_id,
pricing_plan_subscription_reference, product_item_id)
VALUES ($1, nextval('`+pgSchema+`.naive'), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		b.Platform, id, e.Content, e.TimestampAssigned, e.Digest[:], e.ReceivedAt, e.Timestamp.Unix(),
		e.Timestamp.Nanosecond(), e.Reference, e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID,
		e.PricingPlanSubscriptionReference, e.ProductItemID)
	batch.Queue(`INSERT INTO `+pgSchema+`.event_references (platform, reference, seq)
VALUES ($1, $2, currval('`+pgSchema+`.naive'))`, b.Platform, e.Reference)
	if err := n.pool.SendBatch(ctx, batch).Close(); err != nil {
		return chargeingest.AppendResult{}, err
	}
	return stored(b.Events, id), nil
}

type pgCaller struct{ *pgDatabase }

func openPostgresCaller(ctx context.Context, address string) (sink, error) {
	db, err := openPgstore(ctx, address, func(*pgxpool.Config) {})
	return pgCaller{db}, err
}

func (c pgCaller) close() { _ = c.closeAll() }

func (c pgCaller) write(ctx context.Context, events []newEvent) error {
	_, err := c.Append(ctx, chargeingest.Batch{
		Platform: chargeingest.DefaultPlatform, Events: []chargeingest.NewEvent{events[0].NewEvent},
	})
	return err
}

type pgInserter struct {
	conn   *pgx.Conn
	insert string
}

func openPostgresInserter(ctx context.Context, address string) (sink, error) {
	insert, err := pgstoreInsert(ctx, address)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, address)
	return &pgInserter{conn, insert}, err
}

// pgstoreInsert traces pgstore: both run the same INSERT.
func pgstoreInsert(ctx context.Context, address string) (string, error) {
	var inserts []string
	trace := func(_ context.Context, _ tracelog.LogLevel, _ string, data map[string]any) {
		if text, _ := data["sql"].(string); strings.Contains(text, "INSERT INTO") {
			inserts = append(inserts, text)
		}
	}
	db, err := openPgstore(ctx, address, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Tracer = &tracelog.TraceLog{Logger: tracelog.LoggerFunc(trace), LogLevel: tracelog.LogLevelInfo}
	})
	if err != nil {
		return "", err
	}
	caller := pgCaller{db}
	defer caller.close()
	inserts = nil
	one := []newEvent{{NewEvent: chargeingest.NewEvent{Content: "{}"}}}
	if err := caller.write(ctx, one); err != nil {
		return "", err
	}
	if len(inserts) != 1 {
		return "", fmt.Errorf("pgstore stores an event with %d statements, not one: %q", len(inserts), inserts)
	}
	_, err = db.pool.Exec(ctx,
		fmt.Sprintf("TRUNCATE %[1]s.platforms, %[1]s.events, %[1]s.event_references, %[1]s.requests", pgSchema))
	return inserts[0], err
}

func (p *pgInserter) close() { _ = p.conn.Close(context.Background()) }

func (p *pgInserter) write(ctx context.Context, events []newEvent) error {
	n := len(events)
	platforms, offsets := make([]string, n), make([]int64, n)
	text := make([][]string, 8)
	assigned, digests, received := make([]bool, n), make([][]byte, n), make([]time.Time, n)
	seconds, nanoseconds := make([]int64, n), make([]int32, n)
	for i := range events {
		e := &events[i]
		platforms[i], offsets[i] = chargeingest.DefaultPlatform, int64(n-1-i)
		assigned[i], digests[i], received[i] = e.TimestampAssigned, e.Digest[:], e.ReceivedAt
		seconds[i], nanoseconds[i] = e.Timestamp.Unix(), int32(e.Timestamp.Nanosecond())
		for c, value := range []string{
			e.id, e.Content, e.Reference, e.CustomerID, e.CustomerReference, e.PricingPlanSubscriptionID,
			e.PricingPlanSubscriptionReference, e.ProductItemID,
		} {
			text[c] = append(text[c], value)
		}
	}
	var noKeys []string // idempotency keys
	b := new(pgx.Batch)
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	b.Queue(p.insert, platforms[:1], []int64{int64(n)}, text[0][n-1:],
		platforms, offsets, text[0], text[1], assigned, digests, received, seconds, nanoseconds,
		text[2], text[3], text[4], text[5], text[6], text[7],
		noKeys, noKeys, noKeys, [][]byte(nil), noKeys, noKeys, []time.Time(nil))
	b.Queue("COMMIT")
	return p.conn.SendBatch(ctx, b).Close()
}
