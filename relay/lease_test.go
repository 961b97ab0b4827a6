package relay_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/relay"
)

func TestOneOfManyDelivers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on(func(send) ([]relay.Result, error) {
			time.Sleep(100 * time.Millisecond)
			return nil, nil
		})
		for range 4 {
			w.run(w.cfg)
		}
		for i := range 60 {
			w.add("acme", i*100, i*100+100)
			wait(time.Second)
		}
		wait(10 * time.Second)
		require.Equal(t, refs("acme", 0, 6000), w.delivered())
		for _, ref := range w.delivered() {
			require.Equal(t, 1, w.times(ref), ref)
		}
	})
}

// The renewals hang: only the clock shows the end of the lease.
func TestNoSendAfterTheLeaseHasEnded(t *testing.T) {
	inWorld(t, func(w *world) {
		cfg := w.cfg
		hang, leases := make(chan struct{}), 0
		cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), _ relay.Stream, _ relay.LeaseRequest) (relay.State, error) {
			if leases++; leases > 1 {
				<-hang
			}
			return call()
		}}
		w.add("acme", 0, 1000)
		w.on(func(send) ([]relay.Result, error) {
			time.Sleep(900 * time.Millisecond)
			return nil, nil
		})
		start := time.Now()
		_, stop := w.run(cfg)
		wait(time.Minute)
		for _, s := range w.sent() {
			require.Less(t, s.at.Sub(start), 6*time.Second)
		}
		require.Len(t, w.sent(), 6)
		close(hang)
		require.NoError(t, stop())
	})
}

func TestLeaseLostInTheMiddle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 2000)
		var stolen atomic.Bool
		w.on(func(s send) ([]relay.Result, error) {
			if s.refs[0] == "acme-500" && stolen.CompareAndSwap(false, true) {
				stream := relay.Stream{Destination: destination, Platform: "acme"}
				_, _ = w.journal.Lease(w.Context(), stream, relay.LeaseRequest{Holder: "thief", TTL: time.Hour})
				time.Sleep(20 * time.Second)
				_, err := w.journal.Lease(w.Context(), stream, relay.LeaseRequest{Holder: "thief", TTL: 5 * time.Second})
				require.NoError(w, err)
			}
			return nil, nil
		})
		cfg := w.cfg
		cfg.Journal = &journalHooks{Journal: w.journal, lease: func(call func() (relay.State, error), _ relay.Stream, r relay.LeaseRequest) (relay.State, error) {
			if stolen.Load() && r.TTL > 0 && time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 15*time.Second {
				return relay.State{}, errJournal
			}
			return call()
		}}
		w.cfg = cfg
		w.start()
		wait(18 * time.Second)
		require.Len(t, w.sent(), 11)
		wait(20 * time.Second)
		require.Equal(t, refs("acme", 0, 2000), w.delivered())
		require.Zero(t, w.status("acme").Lag)
	})
}

func TestTakeover(t *testing.T) {
	inWorld(t, func(w *world) {
		w.add("acme", 0, 10)
		_, stop := w.run(w.cfg)
		wait(time.Second)
		require.NoError(t, stop())
		w.add("acme", 10, 20)
		w.start()
		wait(time.Millisecond)
		require.Len(t, w.delivered(), 20, "a released lease is taken at once")
	})
}
