package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
	_ "modernc.org/sqlite" // the driver

	"example.com/chargeingest/schema"
)

// naive is the endpoint that one writes by hand in an afternoon, and no worse
// than that: the same schema decides, the same disk is synced, and the unique
// index refuses what is there already. It has no replays, no batches, no
// reading, no errors that name a field.
type naive struct {
	schema *jsonschema.Schema
	db     *sql.DB
	insert *sql.Stmt
}

// naivePragmas are what anyone finds who looks for how to use SQLite in a server.
const naivePragmas = "_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)"

func openNaive(ctx context.Context, path string) (*naive, error) {
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(schema.ChargeEventID)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", fileURI(path, naivePragmas))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	n := &naive{schema: compiled, db: db}
	if err := n.prepare(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return n, nil
}

func (n *naive) prepare(ctx context.Context) error {
	if _, err := n.db.ExecContext(ctx, `CREATE TABLE events (
		seq       INTEGER PRIMARY KEY,
		reference TEXT UNIQUE,
		body      TEXT NOT NULL -- with the id, which nobody looks up here
	)`); err != nil {
		return err
	}
	if err := checkFull(ctx, n.db); err != nil {
		return err
	}
	var err error
	n.insert, err = n.db.PrepareContext(ctx, "INSERT INTO events (reference, body) VALUES (?, ?)")
	return err
}

// Close closes the database.
func (n *naive) Close() error { return errors.Join(n.insert.Close(), n.db.Close()) }

// ServeHTTP implements [http.Handler].
func (n *naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-API-KEY")), []byte(apiKey)) != 1 {
		http.Error(w, "unauthorised", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	var event any
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	if err := n.schema.Validate(event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	members := event.(map[string]any) // the schema says that it is an object
	members["id"], members["object_type"] = "chda_"+rand.Text(), "CHARGE_DATA"
	answer, err := json.Marshal(members)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	// A statement without a transaction around it is one of its own.
	if _, err := n.insert.ExecContext(r.Context(), members["reference"], string(answer)); err != nil {
		http.Error(w, "cannot store the event", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer) // a client that is gone needs no answer
}

// fileURI is how the driver takes a path, with its parameters.
func fileURI(path, parameters string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a Windows drive
	}
	uri := url.URL{Scheme: "file", Path: path, RawQuery: parameters}
	return uri.String()
}

// checkFull reads back that commits are synced. The driver passes over a
// parameter that it does not know without a word.
func checkFull(ctx context.Context, db *sql.DB) error {
	var mode string
	var synchronous int
	err := db.QueryRowContext(ctx, "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous").Scan(&mode, &synchronous)
	if err != nil {
		return err
	}
	if mode != "wal" || synchronous != 2 {
		return fmt.Errorf("journal_mode is %s and synchronous %d, not wal and 2, FULL: the measurement would mean nothing", mode, synchronous)
	}
	return nil
}
