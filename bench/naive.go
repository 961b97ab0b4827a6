package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"example.com/chargeingest/schema"
)

// naive is an endpoint written by hand with the same schema and durability, and a unique index.
type naive struct {
	schema *jsonschema.Schema
	db     *sql.DB
	insert *sql.Stmt
}

func openNaive(ctx context.Context, path string) (*naive, error) {
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schema.ChargeEventID, strings.NewReader(schema.ChargeEvent())); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(schema.ChargeEventID)
	if err != nil {
		return nil, err
	}
	db, err := openSQLite(ctx, path, "")
	if err != nil {
		return nil, err
	}
	n := &naive{schema: compiled, db: db}
	const table = "CREATE TABLE events (seq INTEGER PRIMARY KEY, reference TEXT UNIQUE, content TEXT NOT NULL)"
	_, err = db.ExecContext(ctx, table)
	if err == nil {
		n.insert, err = db.PrepareContext(ctx, "INSERT INTO events (reference, content) VALUES (?, ?)")
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return n, nil
}

func (n *naive) Close() error { return errors.Join(n.insert.Close(), n.db.Close()) }

func (n *naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("X-API-KEY")), []byte(apiKey)) != 1 {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
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
	fields := event.(map[string]any) // as the schema requires
	fields["id"], fields["object_type"] = "chda_"+rand.Text(), "CHARGE_DATA"
	response, err := json.Marshal(fields)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	// Without BEGIN, the statement is a transaction.
	if _, err := n.insert.ExecContext(r.Context(), fields["reference"], string(response)); err != nil {
		http.Error(w, "cannot store the event", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(response)
}
