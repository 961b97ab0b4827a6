package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

const destination = "billing"

type world struct {
	*testing.T
	store   *memstore.Store
	journal *memstore.Journal
	cfg     relay.Config
	relay   *relay.Relay
	stop    func() error

	mu       sync.Mutex
	lines    []string
	sends    []send
	received map[string]int
	order    []string
	decide   func(send) ([]relay.Result, error)
}

type send struct {
	at       time.Time
	platform string
	ids      []string
	refs     []string
}

func inWorld(t *testing.T, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, store: memstore.New(), received: make(map[string]int)}
		w.journal = w.store.Journal()
		w.cfg = relay.Config{
			Name:    destination,
			Source:  w.store,
			Journal: w.journal,
			Sink:    relay.SinkFunc(w.send),
			Logger:  slog.New(slog.NewTextHandler(w, nil)),
		}
		f(w)
	})
}

func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, string(line))
	return len(line), nil
}

func (w *world) logged(text string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func reference(e chargeingest.StoredEvent) string {
	_, rest, _ := strings.Cut(e.Content, `"reference":"`)
	ref, _, _ := strings.Cut(rest, `"`)
	return ref
}

func (w *world) send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
	s := send{at: time.Now(), platform: platform}
	for _, e := range events {
		s.ids, s.refs = append(s.ids, e.ID), append(s.refs, reference(e))
	}
	w.mu.Lock()
	w.sends = append(w.sends, s)
	decide := w.decide
	w.mu.Unlock()
	results := make([]relay.Result, len(events))
	for i := range results {
		results[i].Outcome = relay.Delivered
	}
	if decide != nil {
		decided, err := decide(s)
		if err != nil {
			return nil, err
		}
		if decided != nil {
			results = decided
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, r := range results[:min(len(results), len(s.refs))] {
		if r.Outcome != relay.Delivered {
			continue
		}
		if w.received[s.refs[i]]++; w.received[s.refs[i]] == 1 {
			w.order = append(w.order, s.refs[i])
		}
	}
	return results, nil
}

func (w *world) on(decide func(send) ([]relay.Result, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decide = decide
}

func (w *world) sent() []send {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sends)
}

func (w *world) times(ref string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.received[ref]
}

func (w *world) delivered() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}

func refs(platform string, from, to int) (refs []string) {
	for i := from; i < to; i++ {
		refs = append(refs, fmt.Sprintf("%s-%d", platform, i))
	}
	return refs
}

func (w *world) add(platform string, from, to int) (ids []string) {
	for chunk := range slices.Chunk(refs(platform, from, to), 1000) {
		b := chargeingest.Batch{Platform: platform, Route: chargeingest.RouteBatch}
		for _, ref := range chunk {
			b.Events = append(b.Events, chargeingest.NewEvent{
				Content: `{"reference":"` + ref + `"}`, Reference: ref, Timestamp: time.Now(), ReceivedAt: time.Now(),
			})
		}
		result, err := w.store.Append(w.Context(), b)
		require.NoError(w, err)
		for _, o := range result.Outcomes {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (w *world) start() *relay.Relay {
	w.relay, w.stop = w.run(w.cfg)
	return w.relay
}

func (w *world) run(cfg relay.Config) (*relay.Relay, func() error) {
	r, err := relay.New(cfg)
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	w.Cleanup(func() { _ = stop() })
	return r, stop
}

func (w *world) status(platform string) relay.Status {
	all, err := w.journal.Status(w.Context(), platform)
	require.NoError(w, err)
	require.Len(w, all, 1)
	return all[0]
}

func (w *world) entries(platform string) map[string]relay.Entry {
	entries := make(map[string]relay.Entry)
	q := relay.EntryQuery{Stream: relay.Stream{Destination: destination, Platform: platform}, Limit: 100}
	for {
		page, err := w.journal.Entries(w.Context(), q)
		require.NoError(w, err)
		for _, e := range page.Entries {
			event, err := w.store.Get(w.Context(), platform, e.EventID)
			require.NoError(w, err)
			entries[reference(event)] = e
		}
		if q.After = page.Next; q.After == "" {
			return entries
		}
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errDown = errors.New("connection refused")

func down(send) ([]relay.Result, error) { return nil, errDown }

func unavailable(send) ([]relay.Result, error) {
	return nil, &relay.BatchError{Reason: relay.Reason{Status: 503}}
}

func poison(permanent bool, bad ...string) func(send) ([]relay.Result, error) {
	isBad := make(map[string]bool)
	for _, ref := range bad {
		isBad[ref] = true
	}
	return func(s send) ([]relay.Result, error) {
		for _, ref := range s.refs {
			if isBad[ref] {
				return nil, &relay.BatchError{Permanent: permanent, Reason: relay.Reason{Status: 422, Code: "bad"}}
			}
		}
		return nil, nil
	}
}

func outcomes(byRef map[string]relay.Result) func(send) ([]relay.Result, error) {
	return func(s send) ([]relay.Result, error) {
		results := make([]relay.Result, len(s.refs))
		for i, ref := range s.refs {
			results[i].Outcome = relay.Delivered
			if r, ok := byRef[ref]; ok {
				results[i] = r
			}
		}
		return results, nil
	}
}
