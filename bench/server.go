package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"github.com/google/uuid"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/sqlitestore"
)

// What a server has behind it.
const (
	serveEmpty  = "empty"
	serveNaive  = "naive"
	serveSQLite = "sqlitestore"
	serveMemory = "memstore"

	servePostgres      = "pgstore"
	servePostgresNaive = "naive on PostgreSQL"
)

// serverSpec is what a server child is to do.
type serverSpec struct {
	Serve    string `json:"serve"`
	Database string `json:"database"` // the path of its file, or the address of its server, where it has one
	Profile  string `json:"profile"`  // where a CPU profile goes, or empty
	Queue    int    `json:"queue"`    // events that may wait for sqlitestore's writer; 0 is its default
}

// serving is a server child's word that it listens.
type serving struct {
	Address string        `json:"address"`
	Opened  time.Duration `json:"opened"` // how long its database took to open
}

// served is a server child's last word.
type served struct {
	// Stored is what it holds, where nobody else can look.
	Stored tally `json:"stored"`
}

// service is what a server child serves, and what ends it.
type service struct {
	handler http.Handler
	stored  func(context.Context) (tally, error)
	close   func() error
}

func openService(ctx context.Context, spec serverSpec) (*service, error) {
	none := func(context.Context) (tally, error) { return tally{}, nil }
	switch spec.Serve {
	case serveEmpty:
		return &service{http.HandlerFunc(answerNothing), none, func() error { return nil }}, nil
	case serveNaive:
		n, err := openNaive(ctx, spec.Database)
		if err != nil {
			return nil, err
		}
		return &service{n, none, n.Close}, nil
	case serveSQLite:
		// It sets synchronous=FULL on each of its connections, reads it back
		// and refuses to open otherwise, so that there is nothing to check here.
		store, err := sqlitestore.OpenWith(ctx, spec.Database, sqlitestore.Options{MaxQueuedEvents: spec.Queue})
		if err != nil {
			return nil, err
		}
		h, err := newHandler(store)
		return &service{h, none, store.Close}, err
	case serveMemory:
		store := memstore.New()
		h, err := newHandler(store)
		return &service{h, func(ctx context.Context) (tally, error) { return walk(ctx, store) }, store.Close}, err
	}
	if spec.Serve == servePostgres || spec.Serve == servePostgresNaive {
		return openPostgres(ctx, spec)
	}
	return nil, fmt.Errorf("no such server: %s", spec.Serve)
}

// newHandler mounts a store as the README does.
func newHandler(store chargeingest.EventStore) (*chargeingest.Handler, error) {
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret:      apiKey,
		Subject:     "bench",
		Platforms:   []string{chargeingest.DefaultPlatform},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	if err != nil {
		return nil, err
	}
	return chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys})
}

// answerNothing is the least that a handler can do which takes a body in.
func answerNothing(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

// serveChild is the role of a server.
func serveChild(ctx context.Context, up *parent, spec serverSpec) error {
	begin := time.Now()
	s, err := openService(ctx, spec)
	if err != nil {
		return err
	}
	word := serving{Opened: time.Since(begin)}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.close())
	}
	word.Address = listener.Addr().String()
	stopProfile, err := startProfile(spec.Profile)
	if err != nil {
		return errors.Join(err, listener.Close(), s.close())
	}
	if err := up.out.Encode(word); err != nil {
		return errors.Join(err, listener.Close(), s.close())
	}
	err = errors.Join(serve(ctx, listener, s.handler), stopProfile())
	var last served
	if err == nil {
		last.Stored, err = s.stored(context.WithoutCancel(ctx))
	}
	if err = errors.Join(err, s.close()); err != nil {
		return err
	}
	return up.out.Encode(last)
}

// serve serves until ctx ends and what is under way is answered.
func serve(ctx context.Context, listener net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience/2)
	defer cancel()
	return srv.Shutdown(grace)
}

// startProfile writes a CPU profile to a file until the function that it
// returns is called.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path) //nolint:gosec // whoever asks for a profile says where
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// walk counts what a store holds.
func walk(ctx context.Context, store chargeingest.EventReader) (tally, error) {
	var stored tally
	q := chargeingest.Query{Platform: chargeingest.DefaultPlatform, Order: chargeingest.Ascending, Limit: 1000}
	for {
		page, err := store.List(ctx, q)
		if err != nil {
			return stored, err
		}
		for _, e := range page.Events {
			var content struct {
				Reference uuid.UUID `json:"reference"`
			}
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
