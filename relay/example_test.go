package relay_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/sqlitestore"
)

// The destination is a charge event endpoint.
func Example() {
	t := &chargetest.Main{}
	srv := chargetest.New(t)
	vendorURL, vendorKey := srv.URL(), srv.APIKey()
	ctx, cancel := context.WithCancel(context.Background())
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqlitestore.Open(ctx, filepath.Join(dir, "charges.db"))
	if err != nil {
		log.Fatal(err)
	}
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: chargeingest.FirstOf()})
	if err != nil {
		log.Fatal(err)
	}

	vendor, err := relay.NewHTTP(relay.HTTPConfig{URL: vendorURL, APIKey: vendorKey})
	if err != nil {
		log.Fatal(err)
	}
	r, err := relay.New(relay.Config{Name: "vendor", Source: store, Journal: store.Journal(), Sink: vendor})
	if err != nil {
		log.Fatal(err)
	}
	go r.Run(ctx)

	order := []chargeingest.ChargeEvent{chargetest.Sample("order-42")}
	if _, err := h.Ingest(ctx, chargeingest.IngestRequest{Platform: "default", Events: order}); err != nil {
		log.Fatal(err)
	}
	ev := srv.WaitEvent(t, chargetest.Reference("order-42"))
	fmt.Println(ev.Value.Amount.Quantity, ev.Value.Amount.Currency)
	cancel()
	_ = store.Close()
	_ = os.RemoveAll(dir)
	// Output: 12.50 EUR
}

// warehouse inserts events into a table whose primary key recognizes repeated ones.
type warehouse struct{ db *sql.DB }

func (w warehouse) Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err // the destination is down
	}
	defer tx.Rollback()
	const insert = "INSERT INTO charges (platform, id, event) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
	results := make([]relay.Result, len(events))
	for i, ev := range events {
		if len(ev.Content) > 4096 {
			reason := relay.Reason{Code: "TOO_LARGE", Message: "the column has 4096 bytes"}
			results[i] = relay.Result{Outcome: relay.Rejected, Reason: reason} // a dead letter
			continue
		}
		inserted, err := tx.ExecContext(ctx, insert, platform, ev.ID, ev.Content)
		if err != nil {
			return nil, err
		}
		results[i].Outcome = relay.Delivered
		if n, err := inserted.RowsAffected(); n == 0 && err == nil {
			results[i].Outcome = relay.Repeated
		}
	}
	return results, tx.Commit() // after an error, the results do not count
}

func ExampleSink() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE charges (platform, id, event, PRIMARY KEY (platform, id))"); err != nil {
		log.Fatal(err)
	}
	events := []chargeingest.StoredEvent{{ID: "chda_1", Content: "{}"}, {ID: "chda_2", Content: "{}"}}
	for _, batch := range [][]chargeingest.StoredEvent{events[:1], events} {
		results, err := warehouse{db}.Send(context.Background(), "acme", batch)
		fmt.Println(results[0].Outcome, results[len(results)-1].Outcome, err)
	}
	_ = db.Close()
	// Output:
	// delivered delivered <nil>
	// repeated delivered <nil>
}
