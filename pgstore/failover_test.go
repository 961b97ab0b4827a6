package pgstore

import (
	"context"
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

	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/internal/pgtest"
)

// senders is how many clients send at a time, handlers how many processes they
// send to.
const senders, handlers = 8, 2

// field is traffic to some processes over one database, and what is known of it.
type field struct {
	history   *crashtest.History
	clients   []*crashtest.Client
	processes []*crashtest.Process
	answers   atomic.Int64
	failover  bool // to a standby
}

func newField(t *testing.T) *field {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat the traffic with -seed %d", seed)
	f := &field{history: crashtest.NewHistory()}
	f.history.SeveralProcesses = true
	f.clients = crashtest.NewClients(seed, senders, f.history, func() { f.answers.Add(1) })
	return f
}

// start starts the handlers.
func (f *field) start(t *testing.T, spec childSpec) {
	t.Helper()
	f.processes = nil
	for range handlers {
		f.processes = append(f.processes, startProcess(t, spec))
	}
}

// each runs f for each client, with the address that it sends to.
func (f *field) each(do func(c *crashtest.Client, address string)) {
	var all sync.WaitGroup
	for i, c := range f.clients {
		all.Go(func() { do(c, f.processes[i%handlers].Address) })
	}
	all.Wait()
}

// traffic sends, while somebody follows, until during is over.
func (f *field) traffic(t *testing.T, during func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	busy.Go(func() {
		for ctx.Err() == nil {
			// It fails while no server is there, and goes on from its cursor.
			_ = f.history.Follow(ctx, f.processes[0].Address)
			runtime.Gosched()
		}
	})
	busy.Go(func() { f.each(func(c *crashtest.Client, address string) { c.Run(ctx, address) }) })
	during()
	cancel()
	busy.Wait()
}

// answered returns once n more requests were answered, for good or bad.
func (f *field) answered(t *testing.T, n int64) {
	t.Helper()
	goal := f.answers.Load() + n
	require.Eventually(t, func() bool { return f.answers.Load() >= goal }, time.Minute, time.Millisecond)
}

// stored returns once n more requests were stored.
func (f *field) stored(t *testing.T, n int) {
	t.Helper()
	goal := f.history.Count("stored") + n
	require.Eventually(t, func() bool { return f.history.Count("stored") >= goal }, time.Minute, time.Millisecond,
		"nothing is stored: %s", f.processes[0].Log())
}

// finish sends what nobody knows the end of again, and holds what is stored to
// the history.
func (f *field) finish(t *testing.T) {
	t.Helper()
	f.each(func(c *crashtest.Client, address string) { c.Resolve(t.Context(), address) })
	err := f.history.Follow(t.Context(), f.processes[0].Address)
	if f.failover && err != nil && strings.Contains(err.Error(), `"field":"after"`) {
		// A server that is killed gives its waiting commits up, and what they have
		// can be read in the moment that it has left. It was not acknowledged, and
		// who has read it is told, and not led past anything.
		t.Log("a cursor of an event that the standby does not have was refused")
		f.history.RestartFollow()
		err = f.history.Follow(t.Context(), f.processes[0].Address)
	}
	require.NoError(t, err)
	require.NoError(t, f.history.CheckFollowed())
	stored, err := crashtest.List(t.Context(), f.processes[0].Address)
	require.NoError(t, err)
	require.NoError(t, f.history.Check(stored))
	require.NoError(t, f.history.CompareFollowed(stored))
	t.Logf("%d events, answers: %s", len(stored), f.history.Counts())
}

// Two servers with synchronous replication: one is killed under load, the other
// promoted, and the handlers go on with it by themselves.
func TestAFailoverLosesNothing(t *testing.T) {
	parallel(t)
	needServer(t)
	if os.Getenv(pgtest.Variable) != "" {
		t.Skipf("skipped: %s names a server, which is not to be killed", pgtest.Variable)
	}
	rounds := 1
	if *roundsFlag > 0 {
		rounds = *roundsFlag
	}
	f := newField(t)
	f.failover = true
	primary, err := pgtest.New(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, primary.Remove()) })
	require.NoError(t, primary.Start(t.Context()))
	for range rounds {
		standby := replicate(t, primary)
		hosts := "host=" + primary.Folder + "," + standby.Folder + " port=5432 user=postgres dbname=postgres target_session_attrs=read-write connect_timeout=2"
		f.start(t, childSpec{Address: hosts, Schema: "chargeingest"})
		f.traffic(t, func() {
			f.stored(t, 100+rand.IntN(200))
			require.NoError(t, primary.Kill())
			f.answered(t, 1)
			require.NoError(t, standby.Promote(t.Context()))
			// It has no standby of its own yet, and is not to wait for one.
			f.stored(t, 100)
		})
		f.finish(t)
		for _, p := range f.processes {
			require.NoError(t, p.Stop())
		}
		primary = standby
	}
	require.Positive(t, f.history.Count("unknown")+f.history.Count("failed"), "no kill hit anybody")
}

// replicate gives a server a standby that each commit waits for.
func replicate(t *testing.T, primary *pgtest.Server) *pgtest.Server {
	t.Helper()
	standby, err := primary.Standby(t.Context(), "standby")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, standby.Remove()) })
	require.NoError(t, standby.Start(t.Context()))
	conn, err := pgx.Connect(t.Context(), primary.Address())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	// After the standby took a copy of the settings: when it is promoted it has
	// no standby of its own to wait for.
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

// Connections are ended at random, in the middle of whatever they do.
func TestConnectionsThatAreEndedAtRandomLoseNothing(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	newStore(t, pool, Options{Schema: schema})
	f := newField(t)
	f.start(t, childSpec{Address: addressOf(t), Name: schema, Schema: schema})
	ended := 0
	f.traffic(t, func() {
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
	f.finish(t)
	require.Positive(t, ended)
	require.Positive(t, f.history.Count("stored"))
	t.Logf("%d connections were ended", ended)
}
