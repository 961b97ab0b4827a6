//go:build proxies && linux

package proxies_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

// Clients with references or keys store each event once behind proxies that repeat POSTs.
func TestRestartsBehindProxies(t *testing.T) {
	for name, p := range map[string]proxy{
		"nginx":                             nginx(),
		"nginx of one directive":            plainNginx(""),
		"nginx with non_idempotent":         repeatingNginx,
		"haproxy":                           haproxy(),
		"haproxy with all-retryable-errors": repeatingHAProxy,
	} {
		t.Run(name, func(t *testing.T) { restartDuringLoad(t, startServer(t), p) })
	}
}

func restartDuringLoad(t *testing.T, s *server, p proxy) {
	const (
		clients  = 8
		requests = 60 // per client
		restarts = 4
	)
	address := p(t, s.address)
	var failed, replayed atomic.Int64
	var running sync.WaitGroup
	progress := make(chan struct{}, clients*requests)
	for i := range clients {
		client := newChargeClient(t, address, func(cfg *chargeclient.Config) {
			cfg.OnRetry = func(chargeclient.Retry) { failed.Add(1) }
		})
		running.Go(func() {
			for n := range requests {
				result, err := client.SendBatch(t.Context(), sample(fmt.Sprintf("c%d-%d", i, n), n%2 == 0))
				if err != nil {
					t.Error(err)
				}
				replayed.Add(int64(result.Replayed))
				progress <- struct{}{}
			}
		})
	}
	for i := range restarts {
		for range clients * requests / (restarts + 1) {
			<-progress
		}
		s.end([]syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2])
		s.start(t)
	}
	running.Wait()
	t.Logf("%d retries, %d replayed events", failed.Load(), replayed.Load())

	stored := make(map[string]int)
	for _, e := range events(t, address) {
		stored[*e.Description]++
	}
	for i := range clients {
		for n := range requests {
			for k := range 2 {
				description := fmt.Sprintf("c%d-%d-%d", i, n, k)
				require.Equal(t, 1, stored[description], description)
				delete(stored, description)
			}
		}
	}
	require.Empty(t, stored)
}

func sample(name string, references bool) []chargeingest.ChargeEvent {
	events := make([]chargeingest.ChargeEvent, 2)
	for k := range events {
		events[k] = chargetest.Sample("")
		events[k].Description = new(fmt.Sprintf("%s-%d", name, k))
		if references {
			events[k].Reference = events[k].Description
		}
	}
	return events
}
