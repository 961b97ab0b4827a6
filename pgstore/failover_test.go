package pgstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/internal/pgtest"
)

const (
	senders  = 8
	handlers = 2
)

type traffic struct {
	history   *crashtest.History
	clients   []*crashtest.Client
	processes []*crashtest.Process
	responses atomic.Int64
	failover  bool
}

func newTraffic(t *testing.T) *traffic {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat the traffic with -seed %d", seed)
	tr := &traffic{history: crashtest.NewHistory()}
	tr.history.SeveralProcesses = true
	tr.clients = crashtest.NewClients(seed, senders, tr.history, func() { tr.responses.Add(1) })
	return tr
}

func (tr *traffic) startHandlers(t *testing.T, spec childSpec) {
	t.Helper()
	tr.processes = nil
	for range handlers {
		tr.processes = append(tr.processes, startProcess(t, spec))
	}
}

func (tr *traffic) each(do func(c *crashtest.Client, address string)) {
	var all sync.WaitGroup
	for i, c := range tr.clients {
		all.Go(func() { do(c, tr.processes[i%handlers].Address) })
	}
	all.Wait()
}

func (tr *traffic) run(t *testing.T, during func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			_ = tr.history.Follow(ctx, tr.processes[0].Address)
			runtime.Gosched()
		}
	})
	busy.Go(func() { tr.each(func(c *crashtest.Client, address string) { c.Run(ctx, address) }) })
	during()
	cancel()
	busy.Wait()
}

func (tr *traffic) awaitResponses(t *testing.T, n int64) {
	t.Helper()
	goal := tr.responses.Load() + n
	require.Eventually(t, func() bool { return tr.responses.Load() >= goal }, time.Minute, time.Millisecond)
}

func (tr *traffic) awaitStored(t *testing.T, n int) {
	t.Helper()
	goal := tr.history.Count("stored") + n
	require.Eventually(t, func() bool { return tr.history.Count("stored") >= goal }, time.Minute, time.Millisecond,
		"nothing is stored: %s", tr.processes[0].Log())
}

func (tr *traffic) check(t *testing.T) {
	t.Helper()
	tr.each(func(c *crashtest.Client, address string) { c.Resolve(t.Context(), address) })
	err := tr.history.Follow(t.Context(), tr.processes[0].Address)
	var rejected *chargeclient.Error
	if tr.failover && errors.As(err, &rejected) && rejected.Field == "after" {
		// A killed server cancels commits that wait for a standby: their events can be
		// read for a moment.
		t.Log("a cursor of an event that the standby does not have was rejected")
		tr.history.RestartFollow()
		err = tr.history.Follow(t.Context(), tr.processes[0].Address)
	}
	require.NoError(t, err)
	require.NoError(t, tr.history.CheckFollowed())
	stored, err := crashtest.List(t.Context(), tr.processes[0].Address)
	require.NoError(t, err)
	require.NoError(t, tr.history.Check(stored))
	require.NoError(t, tr.history.CompareFollowed(stored))
	t.Logf("%d events, responses: %s", len(stored), tr.history.Counts())
}

func TestFailover(t *testing.T) {
	parallel(t)
	needServer(t)
	if os.Getenv(pgtest.Variable) != "" {
		t.Skipf("skipped: %s names a server, which must not be killed", pgtest.Variable)
	}
	rounds := 1
	if *roundsFlag > 0 {
		rounds = *roundsFlag
	}
	tr := newTraffic(t)
	tr.failover = true
	primary, err := pgtest.New(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, primary.Remove()) })
	require.NoError(t, primary.Start(t.Context()))
	for range rounds {
		standby := replicate(t, primary)
		hosts := "host=" + primary.Dir + "," + standby.Dir + " port=5432 user=postgres dbname=postgres target_session_attrs=read-write connect_timeout=2"
		tr.startHandlers(t, childSpec{Address: hosts, Schema: "chargeingest"})
		tr.run(t, func() {
			tr.awaitStored(t, 100+rand.IntN(200))
			require.NoError(t, primary.Kill())
			tr.awaitResponses(t, 1)
			require.NoError(t, standby.Promote(t.Context()))
			tr.awaitStored(t, 100)
		})
		tr.check(t)
		for _, p := range tr.processes {
			require.NoError(t, p.Stop())
		}
		primary = standby
	}
	if rounds > 1 {
		require.Positive(t, tr.history.Count("unknown")+tr.history.Count("failed"), "no kill affected a request")
	}
}

func replicate(t *testing.T, primary *pgtest.Server) *pgtest.Server {
	t.Helper()
	standby, err := primary.Standby(t.Context(), "standby")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Remove()) })
	require.NoError(t, standby.Start(t.Context()))
	conn, err := pgx.Connect(t.Context(), primary.Address())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	_, err = conn.Exec(t.Context(), "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "SELECT pg_reload_conf()")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var state string
		err := conn.QueryRow(t.Context(), "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication").Scan(&state)
		return err == nil && strings.Contains(state, "sync") && state != "async"
	}, time.Minute, time.Millisecond)
	return standby
}

func TestConnectionsEndedAtRandom(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	newStore(t, pool, Options{Schema: schema})
	tr := newTraffic(t)
	tr.startHandlers(t, childSpec{Address: addressOf(t), Name: schema, Schema: schema})
	ended := 0
	tr.run(t, func() {
		until := time.After(*chaosFlag)
		ticks := time.NewTicker(5 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-until:
				return
			case <-ticks.C:
			}
			var n int
			err := pool.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM
(SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle' ORDER BY random() LIMIT 1) AS victim`, schema).Scan(&n)
			require.NoError(t, err)
			ended += n
		}
	})
	tr.check(t)
	require.Positive(t, ended)
	require.Positive(t, tr.history.Count("stored"))
	t.Logf("%d connections were ended", ended)
}
