package relay_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

const poisonPlatform = "acme"

// poisoned rejects one of a hundred events for good, and five until it ends.
type poisoned struct{ ended atomic.Bool }

func permanent(number int) bool { return number%100 == 7 }
func temporary(number int) bool { return number%20 == 3 }

func (p *poisoned) status(numbers ...int) int {
	status := http.StatusCreated
	for _, n := range numbers {
		switch {
		case permanent(n):
			return http.StatusBadRequest
		case temporary(n) && !p.ended.Load():
			status = http.StatusServiceUnavailable
		}
	}
	return status
}

func poisonReference(number int) string { return fmt.Sprintf("event-%07d", number) }

var poisonReferences = regexp.MustCompile(`"reference":"event-([0-9]{7})"`)

func numbersIn(text string) []int {
	var numbers []int
	for _, match := range poisonReferences.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(match[1]) // seven digits
		numbers = append(numbers, n)
	}
	return numbers
}

func appendPoison(t *testing.T, store *memstore.Store, from, to int) {
	for ; from < to; from += 1000 {
		b := chargeingest.Batch{Platform: poisonPlatform, Route: chargeingest.RouteBatch}
		for n := from; n < min(from+1000, to); n++ {
			b.Events = append(b.Events, chargeingest.NewEvent{
				Content: `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",` +
					`"customer_id":"cust_1","reference":"` + poisonReference(n) + `","value":{"number":"1"},"timestamp":"2026-03-01T12:00:00Z"}`,
				Reference: poisonReference(n), ReceivedAt: time.Now(),
			})
		}
		_, err := store.Append(t.Context(), b)
		require.NoError(t, err)
	}
}

func (p *poisoned) sink(t *testing.T, arrived *memstore.Store) relay.Sink {
	return relay.SinkFunc(func(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
		results := make([]relay.Result, len(events))
		b := chargeingest.Batch{Platform: platform, Route: chargeingest.RouteBatch}
		for i, e := range events {
			n := numbersIn(e.Content)[0]
			switch status := p.status(n); status {
			case http.StatusBadRequest:
				results[i] = relay.Result{Outcome: relay.Rejected, Reason: relay.Reason{Status: status}}
			case http.StatusServiceUnavailable:
				results[i] = relay.Result{Outcome: relay.Deferred, Reason: relay.Reason{Status: status}}
			default:
				results[i].Outcome = relay.Delivered
				b.Events = append(b.Events, chargeingest.NewEvent{Content: e.Content, Reference: poisonReference(n)})
			}
		}
		if len(b.Events) > 0 {
			_, err := arrived.Append(ctx, b)
			require.NoError(t, err)
		}
		return results, nil
	})
}

// http is for an endpoint that rejects whole batches and names no field.
func (p *poisoned) http(t *testing.T, arrived *memstore.Store) relay.Sink {
	h, err := crashtest.NewHandler(arrived, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	sink, err := relay.NewHTTP(relay.HTTPConfig{
		URL: "http://destination.test", APIKey: crashtest.Secret,
		HTTPClient: &http.Client{Transport: transport(func(r *http.Request) *http.Response {
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			w := httptest.NewRecorder()
			if status := p.status(numbersIn(string(body))...); status != http.StatusCreated {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = w.WriteString(`{"code":"BAD_REQUEST","message":"no"}`)
			} else {
				r.Body = io.NopCloser(strings.NewReader(string(body)))
				h.ServeHTTP(w, r)
			}
			return w.Result()
		})},
	})
	require.NoError(t, err)
	return sink
}

type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestPoison(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string]func(*poisoned, *testing.T, *memstore.Store) relay.Sink{
		"events are rejected": (*poisoned).sink, "batches are rejected": (*poisoned).http,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p poisoned
				arrived := memstore.New()
				testPoison(t, &p, arrived, sink(&p, t, arrived))
			})
		})
	}
}

func testPoison(t *testing.T, p *poisoned, arrived *memstore.Store, sink relay.Sink) {
	const later = 1000 // events during the fault
	first := *poisonFlag
	all := first + later
	source := memstore.New()
	appendPoison(t, source, 0, first)
	r, err := relay.New(relay.Config{
		Name: destination, Source: source, Journal: source.Journal(), Sink: sink, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()

	synctest.Wait()
	p.require(t, source, arrived, first)

	time.Sleep(time.Hour) // retries of parked events do not stop the others
	appendPoison(t, source, first, all)
	time.Sleep(2 * time.Second)
	synctest.Wait()
	p.require(t, source, arrived, all)

	p.ended.Store(true)
	time.Sleep(20 * time.Minute)
	synctest.Wait()
	p.require(t, source, arrived, all)

	cancel()
	require.NoError(t, <-done)
}

func (p *poisoned) require(t *testing.T, source, arrived *memstore.Store, n int) {
	t.Helper()
	want := make(map[int][]int)
	for i := range n {
		status := p.status(i)
		want[status] = append(want[status], i)
	}
	streams, err := source.Journal().Status(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, streams, 1)
	s := streams[0]
	require.Zero(t, s.Lag, "%+v", s)
	require.EqualValues(t, len(want[http.StatusCreated]), s.Delivered+s.Repeated, "%+v", s)
	require.Equal(t, want[http.StatusBadRequest], entries(t, source, s.Stream, relay.Dead, http.StatusBadRequest))
	require.Equal(t, want[http.StatusServiceUnavailable], entries(t, source, s.Stream, relay.Parked, http.StatusServiceUnavailable))

	var got []int
	for q := (chargeingest.Query{Platform: poisonPlatform, Order: chargeingest.Ascending, Limit: 1000}); ; {
		page, err := arrived.List(t.Context(), q)
		require.NoError(t, err)
		for _, e := range page.Events {
			got = append(got, numbersIn(e.Content)...)
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	slices.Sort(got)
	require.Equal(t, want[http.StatusCreated], got)
}

func entries(t *testing.T, source *memstore.Store, s relay.Stream, state relay.EntryState, status int) []int {
	t.Helper()
	var numbers []int
	for q := (relay.EntryQuery{Stream: s, State: state, Limit: 1000}); ; {
		page, err := source.Journal().Entries(t.Context(), q)
		require.NoError(t, err)
		for _, entry := range page.Entries {
			require.Equal(t, status, entry.Reason.Status)
			if state == relay.Dead {
				require.Equal(t, 1, entry.Attempts)
			}
			e, err := source.Get(t.Context(), s.Platform, entry.EventID)
			require.NoError(t, err)
			numbers = append(numbers, numbersIn(e.Content)...)
		}
		if q.After = page.Next; q.After == "" {
			slices.Sort(numbers)
			return numbers
		}
	}
}
