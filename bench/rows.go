package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// column is a column of the table of events that the raw loop fills.
type column struct {
	name  string
	value func(*row) driver.Value
}

// row is an event as the raw loop stores it.
type row struct {
	*chargeingest.NewEvent
	id        string
	reference uuid.UUID
	text      string // of the reference
	content   string
	digest    []byte
	received  time.Time
}

// columnsOf returns those columns of a table that need a value, with where it
// comes from. The names are the table's own; what it has beside those that are
// known here gets something of its type, so that the loop goes on measuring the
// table as it is.
func columnsOf(ctx context.Context, db *sql.DB, table string) ([]column, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, type, "notnull", dflt_value IS NOT NULL, pk FROM pragma_table_info(?)`, table)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	var columns []column
	for rows.Next() {
		var name, kind string
		var required, hasDefault bool
		var key int
		if err := rows.Scan(&name, &kind, &required, &hasDefault, &key); err != nil {
			return nil, err
		}
		if key == 1 && strings.EqualFold(kind, "INTEGER") {
			continue // the database numbers the rows
		}
		value, known := knownColumn(name)
		switch {
		case known:
		case !required || hasDefault:
			continue
		case strings.EqualFold(kind, "INTEGER"):
			value = func(*row) driver.Value { return int64(1) }
		case strings.EqualFold(kind, "BLOB"):
			value = func(r *row) driver.Value { return r.digest }
		default:
			value = func(r *row) driver.Value { return r.text }
		}
		columns = append(columns, column{name, value})
	}
	if len(columns) == 0 {
		return nil, errors.Join(fmt.Errorf("there is no table %s", table), rows.Err())
	}
	return columns, rows.Err()
}

// knownColumn returns where the value of a column comes from.
func knownColumn(name string) (func(*row) driver.Value, bool) {
	value, ok := map[string]func(*row) driver.Value{
		"id":                           func(r *row) driver.Value { return r.id },
		"platform":                     func(*row) driver.Value { return int64(1) },
		"reference":                    func(r *row) driver.Value { return r.text },
		"customer_id":                  func(r *row) driver.Value { return orNull(r.CustomerID) },
		"customer_reference":           func(r *row) driver.Value { return orNull(r.CustomerReference) },
		"pricing_plan_subscription_id": func(r *row) driver.Value { return orNull(r.PricingPlanSubscriptionID) },
		"pricing_plan_subscription_reference": func(r *row) driver.Value {
			return orNull(r.PricingPlanSubscriptionReference)
		},
		"product_item_id":    func(r *row) driver.Value { return r.ProductItemID },
		"timestamp_s":        func(r *row) driver.Value { return r.Timestamp.Unix() },
		"timestamp_ns":       func(r *row) driver.Value { return int64(r.Timestamp.Nanosecond()) },
		"timestamp_assigned": func(r *row) driver.Value { return r.TimestampAssigned },
		"received_s":         func(r *row) driver.Value { return r.received.Unix() },
		"received_ns":        func(r *row) driver.Value { return int64(r.received.Nanosecond()) },
		"digest":             func(r *row) driver.Value { return r.digest },
		"content":            func(r *row) driver.Value { return r.content },
	}[name]
	return value, ok
}

// orNull returns nil for a text that is not set.
func orNull(text string) driver.Value {
	if text == "" {
		return nil
	}
	return text
}

// addPlatform stores the platform that the rows belong to, number 1, where
// platforms are kept.
func addPlatform(ctx context.Context, db *sql.DB) error {
	var kept bool
	err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'platforms')").Scan(&kept)
	if err != nil || !kept {
		return err
	}
	_, err = db.ExecContext(ctx, "INSERT INTO platforms (id, name) VALUES (1, ?)", chargeingest.DefaultPlatform)
	return err
}

// rowSource makes rows out of what the handler hands to its store.
type rowSource struct {
	events     []chargeingest.NewEvent
	places     []int // of the reference in the content
	turn       int
	ids        *storekit.IDGenerator
	references *references
	digests    interface{ Read([]byte) (int, error) }
}

func newRowSource(ctx context.Context, spec rawSpec) (*rowSource, error) {
	events, err := handled(ctx, spec.Seed)
	if err != nil {
		return nil, err
	}
	s := &rowSource{
		events:     events,
		references: newReferences(spec.Seed, spec.Stream<<16, spec.Version),
		digests:    newRandom(spec.Seed, spec.Stream, 0x64696765737473),
	}
	for i := range events {
		at := strings.Index(events[i].Content, events[i].Reference)
		s.places = append(s.places, at)
	}
	s.ids, err = storekit.NewIDGenerator(rand.Reader, "")
	return s, err
}

// next makes a row, which is valid until the next one.
func (s *rowSource) next() (*row, error) {
	e, at := &s.events[s.turn], s.places[s.turn]
	s.turn = (s.turn + 1) % len(s.events)
	r := &row{NewEvent: e, received: time.Now(), digest: make([]byte, len(e.Digest))}
	content := append([]byte(nil), e.Content...)
	var err error
	if r.reference, err = s.references.fill(content[at:]); err != nil {
		return nil, err
	}
	if _, err = s.digests.Read(r.digest); err != nil {
		return nil, err
	}
	r.content = string(content)
	r.text = r.content[at : at+referenceLength]
	r.id, err = s.ids.Next(r.received)
	return r, err
}

// handled returns events as they reach a store.
func handled(ctx context.Context, seed uint64) ([]chargeingest.NewEvent, error) {
	var c capture
	h, err := newHandler(&c)
	if err != nil {
		return nil, err
	}
	g := newGenerator(seed)
	references := newReferences(seed, 0, 4)
	var sent []chargeingest.ChargeEvent
	for range poolEvents {
		made := g.next()
		if _, err := references.fill(made.body[made.reference:]); err != nil {
			return nil, err
		}
		var e chargeingest.ChargeEvent
		if err := e.UnmarshalJSON(made.body); err != nil {
			return nil, err
		}
		sent = append(sent, e)
		if len(sent) == rawTransaction {
			if _, err := h.Ingest(ctx, chargeingest.IngestRequest{Platform: chargeingest.DefaultPlatform, Events: sent}); err != nil {
				return nil, err
			}
			sent = sent[:0]
		}
	}
	return c.events, nil
}

// capture is a store that keeps what it is given as it is.
type capture struct{ events []chargeingest.NewEvent }

// Append implements [chargeingest.EventStore].
func (c *capture) Append(_ context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
	c.events = append(c.events, b.Events...)
	receipt := chargeingest.AppendResult{Outcomes: make([]chargeingest.Outcome, len(b.Events))}
	for i := range b.Events {
		e := &b.Events[i]
		receipt.Outcomes[i].StoredEvent = chargeingest.StoredEvent{
			ID: storekit.FirstID(e.ReceivedAt), Content: e.Content, TimestampAssigned: e.TimestampAssigned, Digest: e.Digest,
		}
	}
	return receipt, nil
}
