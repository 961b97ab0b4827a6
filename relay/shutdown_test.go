package relay_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/relay"
)

func TestShutdown(t *testing.T) {
	inWorld(t, func(w *world) {
		ids := w.add("acme", 0, 1000)
		inner := w.cfg.Sink
		w.cfg.Sink = relay.SinkFunc(func(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]relay.Result, error) {
			results, err := inner.Send(ctx, platform, events)
			if reference(events[0]) == "acme-150" {
				<-ctx.Done() // the response arrives nevertheless
			}
			return results, err
		})
		w.start()
		wait(time.Second)
		start := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(start), time.Second)
		status := w.status("acme")
		require.Equal(t, ids[199], status.LastEventID)
		require.Empty(t, status.Failure)
		require.EqualValues(t, 200, w.relay.Stats().Delivered)

		w.cfg.Sink = inner
		w.start()
		wait(time.Millisecond)
		require.Equal(t, refs("acme", 0, 1000), w.delivered(), "the lease was released")
		require.Equal(t, 1, w.times("acme-199"))
	})
}

func TestShutdownDuringAnError(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		w.cfg.Sink = relay.SinkFunc(func(ctx context.Context, _ string, _ []chargeingest.StoredEvent) ([]relay.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.start()
		wait(time.Second)
		require.NoError(t, w.stop())
		require.Empty(t, w.status("acme").Failure)
		require.Empty(t, w.lines)
	})
}

func TestShutdownWithAHangingJournal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		hanging := &hangingJournal{Journal: w.journal}
		w.cfg.Journal = hanging
		w.start()
		wait(time.Second)
		start := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(start), 10*time.Second)
	})
}

type hangingJournal struct{ relay.Journal }

func (j *hangingJournal) Save(ctx context.Context, _ relay.Stream, _ relay.Progress) error {
	<-ctx.Done()
	return ctx.Err()
}
