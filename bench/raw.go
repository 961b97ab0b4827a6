package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver

	"example.com/chargeingest/sqlitestore"
)

// Of the raw loop: rows in a transaction, and the cache, in KiB, which is that of
// the connection that sqlitestore writes with.
const (
	rawTransaction = 512
	rawCache       = 32 << 10
)

// rawSpec is what a raw child is to do.
type rawSpec struct {
	Database string        `json:"database"`
	WarmUp   time.Duration `json:"warm_up"`
	Time     time.Duration `json:"time"`
	Seed     uint64        `json:"seed"`
	Stream   uint64        `json:"stream"`
	Version  int           `json:"version"`

	// Entries says to store what events are found by, too, with each of them.
	// The store does that later, and in the order of keys.
	Entries bool `json:"entries"`
}

// rawLoop inserts rows into the tables of sqlitestore with nothing between it
// and the driver: how fast SQLite can be with these tables and indexes.
type rawLoop struct {
	db      *sql.DB // has one connection
	columns []column
	rows    *rowSource
	spec    rawSpec

	// While it runs; those of entries are nil where there are none to store.
	begin, insert, commit statement
	addEntry, setMerged   statement
}

// rawChild is the role of the raw loop.
func rawChild(ctx context.Context, up *parent, spec rawSpec) (err error) {
	r, err := openRaw(ctx, spec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.db.Close()) }()
	if err := up.out.Encode(true); err != nil {
		return err
	}
	if err := up.wait(ctx); err != nil {
		return err
	}
	done, err := r.run(ctx)
	if err != nil {
		return err
	}
	if err := up.out.Encode(done); err != nil {
		return err
	}
	<-ctx.Done() // the parent looks at this process before it ends
	return nil
}

func openRaw(ctx context.Context, spec rawSpec) (*rawLoop, error) {
	store, err := sqlitestore.Open(ctx, spec.Database)
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", fileURI(spec.Database, fmt.Sprintf("%s&_pragma=cache_size(-%d)", naivePragmas, rawCache)))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	r := &rawLoop{db: db, spec: spec}
	if err := r.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

func (r *rawLoop) prepare(ctx context.Context) error {
	if err := checkFull(ctx, r.db); err != nil {
		return err
	}
	if err := addPlatform(ctx, r.db); err != nil {
		return err
	}
	var err error
	if r.columns, err = columnsOf(ctx, r.db, "events"); err != nil {
		return err
	}
	r.rows, err = newRowSource(ctx, r.spec)
	return err
}

// run inserts for the time that was asked for.
func (r *rawLoop) run(ctx context.Context) (done outcome, err error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return done, err
	}
	err = conn.Raw(func(driven any) error {
		done, err = r.loop(ctx, driven.(driver.Conn)) // database/sql made it
		return err
	})
	return done, errors.Join(err, conn.Close())
}

func (r *rawLoop) loop(ctx context.Context, conn driver.Conn) (outcome, error) {
	statements, err := r.prepareAll(conn)
	defer func() {
		for _, s := range statements {
			_ = s.Close() // what they did is committed
		}
	}()
	if err != nil {
		return outcome{}, err
	}
	latency := newHistogram()
	begin := time.Now()
	count := begin.Add(r.spec.WarmUp)
	end := count.Add(r.spec.Time)
	var done outcome
	var counted int64
	for now := begin; now.Before(end) && ctx.Err() == nil; {
		stored, err := r.transact()
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
	done.Rate = float64(counted) / r.spec.Time.Seconds()
	done.Latency = percentiles(latency)
	return done, ctx.Err()
}

// transact stores rawTransaction rows.
func (r *rawLoop) transact() (tally, error) {
	var stored tally
	if _, err := r.begin.run(); err != nil {
		return stored, err
	}
	arguments := make([]driver.Value, len(r.columns))
	var last int64
	for range rawTransaction {
		row, err := r.rows.next()
		if err != nil {
			return stored, err
		}
		for i, c := range r.columns {
			arguments[i] = c.value(row)
		}
		inserted, err := r.insert.run(arguments...)
		if err != nil {
			return stored, err
		}
		if last, err = inserted.LastInsertId(); err != nil {
			return stored, err
		}
		if err := r.enter(row, last); err != nil {
			return stored, err
		}
		stored.add(row.reference)
	}
	if r.setMerged.Stmt != nil {
		if _, err := r.setMerged.run(last); err != nil {
			return stored, err
		}
	}
	_, err := r.commit.run()
	return stored, err
}

// enter stores what a row is found by.
func (r *rawLoop) enter(row *row, seq int64) error {
	if r.addEntry.Stmt == nil {
		return nil
	}
	for i, value := range []string{row.text, row.CustomerID, row.CustomerReference} {
		if value == "" {
			continue
		}
		if _, err := r.addEntry.run(int64(i+1), int64(1), value, seq); err != nil {
			return err
		}
	}
	return nil
}

func (r *rawLoop) insertion() string {
	names := make([]string, len(r.columns))
	for i, c := range r.columns {
		names[i] = c.name
	}
	return fmt.Sprintf("INSERT INTO events (%s) VALUES (%s)",
		strings.Join(names, ", "), strings.Join(slices.Repeat([]string{"?"}, len(names)), ", "))
}

// prepareAll prepares the statements. They are the caller's to close.
func (r *rawLoop) prepareAll(conn driver.Conn) ([]statement, error) {
	queries := map[string]*statement{"BEGIN IMMEDIATE": &r.begin, r.insertion(): &r.insert, "COMMIT": &r.commit}
	if r.spec.Entries {
		queries["INSERT INTO lookup (kind, platform, value, seq) VALUES (?, ?, ?, ?)"] = &r.addEntry
		queries["UPDATE merged SET seq = ?"] = &r.setMerged
	}
	var statements []statement
	for query, into := range queries {
		prepared, err := conn.Prepare(query)
		if err != nil {
			return statements, err
		}
		able, ok := prepared.(driver.StmtExecContext)
		if !ok {
			return statements, errors.Join(fmt.Errorf("the driver's %T has no contexts", prepared), prepared.Close())
		}
		*into = statement{prepared, able}
		statements = append(statements, *into)
	}
	return statements, nil
}

// statement is a prepared statement without database/sql around it.
type statement struct {
	driver.Stmt
	driver.StmtExecContext
}

func (s statement) run(arguments ...driver.Value) (driver.Result, error) {
	named := make([]driver.NamedValue, len(arguments))
	for i, v := range arguments {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return s.ExecContext(context.Background(), named)
}
