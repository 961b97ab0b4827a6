package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"modernc.org/sqlite"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

const (
	backendEmpty         = "empty"
	backendNaive         = "naive"
	backendSQLite        = "sqlitestore"
	backendMemory        = "memstore"
	backendPostgres      = "pgstore"
	backendPostgresNaive = "naive on PostgreSQL"
)

const apiKey = "bench-key-0123456789abcdef"

type serverSpec struct {
	Backend         string
	Database        string
	MaxQueuedEvents int // of sqlitestore
	Inspected       bool
	Destination     string // of a relay; empty without one
}

type service struct {
	http.Handler
	memory *memstore.Store
	close  func() error
}

func openService(ctx context.Context, spec serverSpec) (*service, error) {
	open := func(store readableStore) (http.Handler, error) { return newHandler(store) }
	if spec.Inspected {
		open = newInspectedHandler
	}
	switch spec.Backend {
	case backendEmpty:
		return &service{Handler: http.HandlerFunc(respondCreated), close: func() error { return nil }}, nil
	case backendNaive:
		n, err := openNaive(ctx, spec.Database)
		if err != nil {
			return nil, err
		}
		return &service{Handler: n, close: n.Close}, nil
	case backendSQLite:
		_, _ = sqlite.Fdatasync(true)
		store, err := sqlitestore.OpenWith(ctx, spec.Database, sqlitestore.Options{MaxQueuedEvents: spec.MaxQueuedEvents})
		if err != nil {
			return nil, err
		}
		if spec.Destination != "" {
			return openRelayed(store, spec.Destination)
		}
		h, err := open(store)
		return &service{Handler: h, close: store.Close}, err
	case backendMemory:
		store := memstore.New()
		h, err := open(store)
		return &service{Handler: h, memory: store, close: store.Close}, err
	case backendPostgres, backendPostgresNaive:
		return openPostgres(ctx, spec)
	}
	return nil, fmt.Errorf("unknown backend %q", spec.Backend)
}

func newHandler(store chargeingest.EventStore) (*chargeingest.Handler, error) {
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	return chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
}

type readableStore interface {
	chargeingest.EventStore
	chargeingest.EventReader
}

func newInspectedHandler(store readableStore) (http.Handler, error) {
	h, err := newHandler(store)
	if err != nil {
		return nil, err
	}
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	i, err := inspector.New(inspector.Config{Reader: store, Authorizer: keys})
	if err != nil {
		return nil, err
	}
	return i.Middleware(h), nil
}

func newKeys() (*chargeingest.Keys, error) {
	return chargeingest.NewKeys(chargeingest.Key{
		Secret:      apiKey,
		Subject:     "bench",
		Platforms:   []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
}

func respondCreated(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func serveChild(ctx context.Context, out *json.Encoder, spec serverSpec) error {
	s, err := openService(ctx, spec)
	if err != nil {
		return err
	}
	var held tally
	err = s.serve(ctx, out)
	if err == nil && s.memory != nil {
		held, err = countEvents(context.WithoutCancel(ctx), s.memory)
	}
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	return out.Encode(held)
}

func (s *service) serve(ctx context.Context, out *json.Encoder) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := out.Encode(listener.Addr().String()); err != nil {
		return errors.Join(err, listener.Close())
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout/2)
	defer cancel()
	return srv.Shutdown(shutdown)
}

func countEvents(ctx context.Context, store chargeingest.EventReader) (tally, error) {
	var stored tally
	q := chargeingest.Query{Platform: chargeingest.DefaultPlatform, Order: chargeingest.Ascending, Limit: 1000}
	for {
		page, err := store.List(ctx, q)
		if err != nil {
			return stored, err
		}
		for _, e := range page.Events {
			var content struct{ Reference uuid.UUID }
			if err := json.Unmarshal([]byte(e.Content), &content); err != nil {
				return stored, fmt.Errorf("event %s: %w", e.ID, err)
			}
			stored.add(content.Reference)
		}
		if page.Next == "" {
			return stored, nil
		}
		q.After = page.Next
	}
}
