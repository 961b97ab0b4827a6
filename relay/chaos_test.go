package relay_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/relay"
)

const (
	chaosClients = 3
	settleTime   = time.Minute
)

type endpoint struct {
	spec endpointSpec

	mu      sync.Mutex // held while it is down
	process *crashtest.Process
}

func (e *endpoint) start(t *testing.T) {
	p, err := crashtest.Start(t.Context(), e.spec)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	e.process = p
}

// address waits until the process serves.
func (e *endpoint) address() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.process.Address + e.spec.Prefix
}

type round struct {
	seed                uint64
	random              *rand.Rand
	source, destination endpoint
	proxy               *faultProxy
	history             *crashtest.History
	clients             []*crashtest.Client
	responses           atomic.Int64
	enough              context.CancelFunc
	kills               map[string]int
}

func newRound(t *testing.T, seed uint64) *round {
	r := &round{
		seed: seed, random: rand.New(rand.NewPCG(seed, 1)), proxy: newFaultProxy(seed), history: crashtest.NewHistory(),
		kills: make(map[string]int),
	}
	t.Cleanup(r.proxy.close)
	dir := t.TempDir()
	r.destination.spec = endpointSpec{Path: filepath.Join(dir, "destination.db"), Prefix: destinationPrefix}
	r.source.spec = endpointSpec{Path: filepath.Join(dir, "source.db"), Relay: &relaySpec{
		URL: r.proxy.URL, BatchSize: 1 + r.random.IntN(20), KeepMissingReferences: r.random.IntN(4) == 0,
	}}
	r.clients = crashtest.NewClients(seed, chaosClients, r.history, func() {
		if r.responses.Add(-1) == 0 {
			r.enough()
		}
	})
	return r
}

func (r *round) start(t *testing.T) {
	r.destination.start(t)
	r.proxy.setDestination(r.destination.process.Address)
	r.source.start(t)
}

func (r *round) traffic(ctx context.Context, n int) {
	r.responses.Store(int64(n))
	ctx, r.enough = context.WithCancel(ctx)
	defer r.enough()
	var clients sync.WaitGroup
	for _, c := range r.clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				c.Run(ctx, r.source.address())
			}
		})
	}
	clients.Wait()
}

func (r *round) crash(t *testing.T) {
	stage := []string{stageRequest, stageStored, stageResponse}[r.random.IntN(3)]
	victims := [][]*endpoint{{&r.source}, {&r.source}, {&r.destination}, {&r.destination}, {&r.source, &r.destination}}[r.random.IntN(5)]
	m := r.proxy.arm(stage, 1+r.random.IntN(8))
	select {
	case <-m.reached:
	case <-time.After(time.Duration(r.random.IntN(300)) * time.Millisecond):
		stage = "time"
	}
	for _, v := range victims {
		v.mu.Lock()
		if v == &r.destination {
			r.proxy.setDestination("")
		}
		v.process.Kill()
		r.kills[filepath.Base(v.spec.Path)+" at "+stage]++
	}
	r.proxy.disarm(m)
	for _, v := range victims {
		v.start(t)
		if v == &r.destination {
			r.proxy.setDestination(v.process.Address)
		}
		v.mu.Unlock()
	}
}

func (r *round) journal(t *testing.T) (j journal) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.source.address()+journalPath, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err, r.source.process.Log())
	defer func() { _ = res.Body.Close() }()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(&j))
	return j
}

func (r *round) settle(t *testing.T, platforms int) journal {
	delivered := func(j journal) bool {
		for _, s := range j.Streams {
			if s.Lag != 0 || s.Parked != 0 || s.Dead != 0 {
				return s.Dead != 0 // will not change
			}
		}
		return len(j.Streams) == platforms
	}
	deadline := time.Now().Add(settleTime)
	for {
		j := r.journal(t)
		if delivered(j) {
			return j
		}
		require.Less(t, time.Now(), deadline, "not delivered: %+v\n%s", j, r.source.process.Log())
		time.Sleep(5 * time.Millisecond)
	}
}

type chargeEvent map[string]string

func byPlatform(t *testing.T, stored []crashtest.Stored) (events map[string][]chargeEvent, ids map[string][]string) {
	events, ids = make(map[string][]chargeEvent), make(map[string][]string)
	for _, s := range stored {
		var fields map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(s.Text), &fields))
		e := make(chargeEvent)
		for name, text := range fields {
			if name != "id" {
				e[name] = string(text)
			}
		}
		events[s.Platform] = append(events[s.Platform], e)
		ids[s.Platform] = append(ids[s.Platform], s.ID)
	}
	return events, ids
}

func (r *round) check(t *testing.T) {
	stored, err := crashtest.List(t.Context(), r.source.address())
	require.NoError(t, err)
	require.NoError(t, r.history.Check(stored))
	want, ids := byPlatform(t, stored)
	journal := r.settle(t, len(want))
	arrived, err := crashtest.List(t.Context(), r.destination.address())
	require.NoError(t, err)
	got, _ := byPlatform(t, arrived)
	for platform, events := range want {
		if !r.source.spec.Relay.KeepMissingReferences {
			for i, e := range events {
				if e["reference"] == "null" {
					e["reference"] = strconv.Quote(ids[platform][i])
				}
			}
		}
		requireSameEvents(t, events, got[platform])
		if !r.proxy.responses { // no event was rejected
			requireSameOrder(t, events, got[platform])
		}
	}
	require.Len(t, got, len(want))
	for _, s := range journal.Streams {
		n := int64(len(want[s.Platform]))
		require.Zero(t, s.Lag+s.Parked+s.Dead+s.Skipped, "%+v", s)
		require.Equal(t, ids[s.Platform][n-1], s.LastEventID)
		require.GreaterOrEqual(t, s.Delivered+s.Repeated, n)
		require.LessOrEqual(t, s.Delivered, n)
		for _, e := range journal.Entries[s.Platform] {
			require.Equal(t, relay.DeliveredState, e.State, "%+v", e)
		}
		t.Logf("%s: %d events, %d repeated, %d had been parked", s.Platform, n, s.Repeated, len(journal.Entries[s.Platform]))
	}
}

func requireSameEvents(t *testing.T, want, got []chargeEvent) {
	t.Helper()
	count := make(map[string]int)
	for _, e := range want {
		count[fmt.Sprint(e)]++
	}
	for _, e := range got {
		count[fmt.Sprint(e)]--
	}
	for e, n := range count {
		switch {
		case n > 0:
			assert.Fail(t, "LOST: "+e)
		case n < 0:
			assert.Fail(t, "REPEATED: "+e)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func requireSameOrder(t *testing.T, want, got []chargeEvent) {
	t.Helper()
	for i, e := range want {
		require.Equal(t, e, got[i], "ORDER: event %d of %d", i, len(want))
	}
}

func (r *round) run(t *testing.T) {
	r.start(t)
	for range 1 + r.random.IntN(4) {
		n := 20 + r.random.IntN(80)
		var traffic sync.WaitGroup
		traffic.Go(func() { r.traffic(t.Context(), n) })
		r.crash(t)
		traffic.Wait()
	}
	for _, c := range r.clients {
		require.True(t, c.Resolve(t.Context(), r.source.address()), r.source.process.Log())
	}
	r.proxy.end()
	r.check(t)
	require.NoError(t, r.source.process.Stop())
	require.NoError(t, r.destination.process.Stop())
	t.Logf("%+v; responses: %s; kills: %v; proxy: %v", *r.source.spec.Relay, r.history.Counts(), r.kills, r.proxy.counts)
}

func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	rounds := *roundsFlag
	if rounds == 0 {
		rounds = 3
	}
	first := seed()
	for i := range uint64(rounds) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			newRound(t, first+i).run(t)
			t.Logf("%v; repeat with -seed %d -rounds 1", time.Since(start).Round(time.Millisecond), first+i)
		})
	}
}
