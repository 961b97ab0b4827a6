package pgstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

// destination recognizes repeated events.
type destination struct {
	url string

	mu       sync.Mutex
	first    map[string][]string
	known    map[string]bool
	last     map[string]sent
	takeover map[string]time.Time
	watched  map[string]string // process by platform
	repeats  int
}

type sent struct {
	Process, Platform string
	IDs               []string
}

func newDestination(t *testing.T) *destination {
	r := &destination{
		first: make(map[string][]string), known: make(map[string]bool), last: make(map[string]sent),
		takeover: make(map[string]time.Time), watched: make(map[string]string),
	}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *destination) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var s sent
	if err := json.NewDecoder(request.Body).Decode(&s); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(r.record(s))
}

func (r *destination) record(s sent) (repeated []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range s.IDs {
		repeated = append(repeated, r.known[id])
		if r.known[id] {
			r.repeats++
			continue
		}
		r.known[id] = true
		r.first[s.Platform] = append(r.first[s.Platform], id)
	}
	r.last[s.Platform] = s
	if process := r.watched[s.Platform]; process != "" && process != s.Process {
		r.takeover[s.Platform] = time.Now()
		delete(r.watched, s.Platform)
	}
	return repeated
}

func (r *destination) watch(process string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.takeover)
	clear(r.watched)
	for platform, s := range r.last {
		if s.Process == process {
			r.watched[platform] = process
		}
	}
	return len(r.watched)
}

func (r *destination) takeovers() (n int, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.takeover {
		if n++; at.After(last) {
			last = at
		}
	}
	return n, last
}

func (r *destination) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known)
}

func (c childSpec) relay() error {
	store, err := c.openStore()
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if c.SaveOnce {
		return c.saveOnce(ctx, store.Journal())
	}
	r, err := relay.New(relay.Config{
		Name: "destination", Source: store, Journal: store.Journal(), Sink: relay.SinkFunc(c.send),
		BatchSize: 20, LeaseTime: c.LeaseTime, PollInterval: 50 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return r.Run(ctx)
}

func (c childSpec) send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
	s := sent{Process: c.Name, Platform: platform}
	for _, e := range events {
		s.IDs = append(s.IDs, e.ID)
	}
	var repeated []bool
	if err := c.post(ctx, s, &repeated); err != nil {
		return nil, err
	}
	results := make([]relay.Result, len(repeated))
	for i := range results {
		results[i].Outcome = relay.Delivered
		if repeated[i] {
			results[i].Outcome = relay.Repeated
		}
	}
	return results, nil
}

func (c childSpec) post(ctx context.Context, value, response any) (err error) {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.DestinationURL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Body.Close()) }()
	if r.StatusCode != http.StatusOK {
		return errors.New(r.Status)
	}
	return json.NewDecoder(r.Body).Decode(response)
}

func (c childSpec) saveOnce(ctx context.Context, j *Journal) error {
	state, err := j.Lease(ctx, acme, relay.LeaseRequest{Holder: c.Name, TTL: c.LeaseTime})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var token int64
	if err := c.post(ctx, state.Token, &token); err != nil {
		return err
	}
	err = j.Save(ctx, acme, relay.Progress{Token: state.Token, Position: "late", Delivered: 1})
	return c.post(ctx, fmt.Sprint(err), &token)
}
