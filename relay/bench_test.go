package relay_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

// BenchmarkCatchUp compares a relay that catches up with the sink alone. Each Send takes a
// millisecond.
func BenchmarkCatchUp(b *testing.B) {
	const events = 50_000
	store := memstore.New()
	for i := range events / 1000 {
		batch := chargeingest.Batch{Platform: "acme", Route: chargeingest.RouteBatch}
		for j := range 1000 {
			batch.Events = append(batch.Events, chargeingest.NewEvent{Content: fmt.Sprintf(`{"reference":"%d-%d"}`, i, j)})
		}
		_, err := store.Append(b.Context(), batch)
		require.NoError(b, err)
	}
	for _, size := range []int{50, 500} {
		results := slices.Repeat([]relay.Result{{Outcome: relay.Delivered}}, size)
		sent := 0
		done := make(chan struct{})
		sink := relay.SinkFunc(func(_ context.Context, _ string, e []chargeingest.StoredEvent) ([]relay.Result, error) {
			time.Sleep(time.Millisecond)
			if sent += len(e); sent == events {
				close(done)
			}
			return results[:len(e)], nil
		})
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var alone, relayed time.Duration
			for b.Loop() {
				sent, done = 0, make(chan struct{})
				start := time.Now()
				batch := make([]chargeingest.StoredEvent, size)
				for range events / size {
					_, _ = sink(b.Context(), "acme", batch)
				}
				alone += time.Since(start)

				sent, done = 0, make(chan struct{})
				start = time.Now()
				r, err := relay.New(relay.Config{Name: fmt.Sprint(start), Source: store, Journal: store.Journal(), Sink: sink, BatchSize: size})
				require.NoError(b, err)
				ctx, stop := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- r.Run(ctx) }()
				<-done
				relayed += time.Since(start)
				stop()
				require.NoError(b, <-ended)
			}
			b.ReportMetric(alone.Seconds()/relayed.Seconds(), "of-sink")
			b.ReportMetric(events*float64(b.N)/relayed.Seconds(), "events/s")
		})
	}
}
