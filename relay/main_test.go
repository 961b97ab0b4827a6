package relay_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"
	"time"

	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/internal/memdir"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/sqlitestore"
)

var (
	roundsFlag = flag.Int("rounds", 0, "number of rounds of TestExactlyOnce; 0 selects its default")
	seedFlag   = flag.Uint64("seed", 0, "seed of the first round of TestExactlyOnce; 0 selects a new one")
	poisonFlag = flag.Int("poison", 2000, "number of events of TestPoison")
)

func TestMain(m *testing.M) {
	var spec endpointSpec
	child, err := crashtest.Child(&spec)
	if !child {
		os.Exit(runAll(m))
	}
	if err == nil {
		err = crashtest.ServeHandler(spec.open)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runAll(m *testing.M) int {
	flag.Parse()
	if dir := memdir.Path(); dir != "" {
		if err := os.Setenv("TMPDIR", dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func seed() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return rand.Uint64() >> 1
}

type endpointSpec struct {
	Path   string
	Prefix string
	Relay  *relaySpec // nil without a relay
}

type relaySpec struct {
	URL                   string
	BatchSize             int
	KeepMissingReferences bool
}

const (
	destinationPrefix = "/destination"
	journalPath       = "/journal"
	clientTimeout     = time.Second
)

func (s endpointSpec) open() (http.Handler, func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	store, err := sqlitestore.Open(ctx, s.Path)
	if err != nil {
		return nil, nil, err
	}
	h, err := crashtest.NewHandler(store, crashtest.NewLogger())
	if err != nil {
		return nil, nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(s.Prefix+"/", http.StripPrefix(s.Prefix, h))
	if s.Relay == nil {
		return mux, store.Close, nil
	}
	mux.HandleFunc("GET "+journalPath, func(w http.ResponseWriter, r *http.Request) {
		journal, err := readJournal(r.Context(), store.Journal())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(journal)
	})
	stop, err := s.Relay.start(store)
	if err != nil {
		return nil, nil, err
	}
	return mux, func() error {
		err := stop()
		if closeErr := store.Close(); err == nil {
			err = closeErr
		}
		return err
	}, nil
}

func (s relaySpec) start(store *sqlitestore.Store) (stop func() error, err error) {
	sink, err := relay.NewHTTP(relay.HTTPConfig{
		URL: s.URL + destinationPrefix, APIKey: crashtest.Secret, KeepMissingReferences: s.KeepMissingReferences,
		HTTPClient: &http.Client{Timeout: clientTimeout},
	})
	if err != nil {
		return nil, err
	}
	r, err := relay.New(relay.Config{
		Name: destination, Source: store, Journal: store.Journal(), Sink: sink, BatchSize: s.BatchSize,
		Schedule:     relay.Schedule{Min: 5 * time.Millisecond, Max: 50 * time.Millisecond},
		PollInterval: 5 * time.Millisecond, Logger: crashtest.NewLogger(),
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}, nil
}

type journal struct {
	Streams []relay.Status
	Entries map[string][]relay.Entry // by platform
}

func readJournal(ctx context.Context, l relay.Ledger) (j journal, err error) {
	if j.Streams, err = l.Status(ctx, ""); err != nil {
		return j, err
	}
	j.Entries = make(map[string][]relay.Entry)
	for _, s := range j.Streams {
		page, err := l.Entries(ctx, relay.EntryQuery{Stream: s.Stream, Limit: 1000})
		if err != nil {
			return j, err
		}
		j.Entries[s.Platform] = page.Entries
	}
	return j, nil
}
