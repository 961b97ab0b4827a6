package kafkarelay_test

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

func TestBrokerRestart(t *testing.T) {
	const perPlatform = 300
	b := newBroker(t, "charges")
	store := memstore.New()
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: chargeingest.AuthorizerFunc(nil)})
	require.NoError(t, err)
	stored := make(map[string][]string)
	for _, platform := range []string{"a", "b"} {
		var list []chargeingest.ChargeEvent
		for i := range perPlatform {
			list = append(list, chargetest.Sample("r-"+strconv.Itoa(i)))
		}
		result, err := h.Ingest(t.Context(), chargeingest.IngestRequest{Platform: platform, Events: list})
		require.NoError(t, err)
		for _, e := range result.Events {
			stored[platform] = append(stored[platform], e.ID)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sink := b.sink(100 * time.Millisecond)
	sends, delivered := 0, make(chan int, 2*perPlatform)
	r, err := relay.New(relay.Config{
		Name: "kafka:charges", Source: store, Journal: store.Journal(), BatchSize: 20, Concurrency: 1,
		Sink: relay.SinkFunc(func(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
			switch sends++; sends {
			case 5:
				b.cluster.Close()
			case 7:
				b.start()
			}
			return sink.Send(ctx, platform, events)
		}),
		Schedule:     relay.Schedule{Min: time.Millisecond, Max: 20 * time.Millisecond},
		PollInterval: 10 * time.Millisecond,
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
		Observer:     func(o relay.Observation) { delivered <- o.Delivered + o.Repeated },
	})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for left := 2 * perPlatform; left > 0; {
		select {
		case n := <-delivered:
			left -= n
		case <-ctx.Done():
			t.Fatal("not everything was delivered")
		}
	}
	cancel()
	require.NoError(t, <-ended)
	require.Greater(t, sends, 2*perPlatform/20, "no Send has failed")

	received, repeats := make(map[string][]string), 0
	seen := make(map[string]bool)
	for _, r := range b.records(2 * perPlatform) {
		platform, id := header(r, "platform"), header(r, "event_id")
		if seen[platform+id] {
			repeats++
			continue
		}
		seen[platform+id] = true
		received[platform] = append(received[platform], id)
	}
	t.Logf("%d repeats", repeats)
	require.Equal(t, stored, received, "each event, and the first ones in order")
}
