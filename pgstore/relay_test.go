//go:build unix

package pgstore

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/relay"
)

func TestSaveAfterPause(t *testing.T) {
	parallel(t)
	pool := newPool(t)
	schema := newSchema(t, pool)
	j := newStore(t, pool, Options{Schema: schema}).Journal()
	resumed, saved := make(chan int64), make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var value any
		if err := json.NewDecoder(r.Body).Decode(&value); err != nil {
			t.Error(err)
		}
		if text, ok := value.(string); ok {
			saved <- text
		} else {
			<-resumed
		}
		_, _ = fmt.Fprint(w, 0)
	}))
	defer server.Close()
	p := startProcess(t, childSpec{Address: addressOf(t), Schema: schema, Name: "paused", DestinationURL: server.URL, LeaseTime: 100 * time.Millisecond, SaveOnce: true})
	require.NoError(t, p.Signal(syscall.SIGSTOP))
	var state relay.State
	require.Eventually(t, func() bool {
		var err error
		state, err = j.Lease(t.Context(), acme, relay.LeaseRequest{Holder: "other", TTL: time.Hour})
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, j.Save(t.Context(), acme, relay.Progress{Token: state.Token, Position: "other", Delivered: 2}))
	require.NoError(t, p.Signal(syscall.SIGCONT))
	close(resumed)
	require.Equal(t, relay.ErrLeaseLost.Error(), <-saved)
	status := statusOf(t, j, acme)
	require.Equal(t, "other", status.Position)
	require.EqualValues(t, 2, status.Delivered)
}

const audit = `CREATE TABLE $.audit (n bigserial, platform text, token bigint, holder text, seq bigint, stolen boolean);
CREATE FUNCTION $.audited() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
INSERT INTO $.audit (platform, token, holder, seq, stolen)
VALUES (new.platform, new.token, new.holder, new.seq, new.holder <> old.holder AND old.leased_until > clock_timestamp());
RETURN NULL; END$$;
CREATE TRIGGER audited AFTER UPDATE ON $.relay_streams FOR EACH ROW EXECUTE FUNCTION $.audited()`

type relayTest struct {
	*testing.T
	store       *Store
	destination *destination
	spec        childSpec
	random      *rand.Rand
	processes   map[string]*crashtest.Process
	started     int
	longest     time.Duration // takeover after a kill
}

func TestRelayProcesses(t *testing.T) {
	parallel(t)
	const processes, platforms = 4, 6
	rounds, lease := 2, time.Second
	if *roundsFlag > 0 {
		rounds, lease = *roundsFlag, 0 // the default
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat the choice of processes with -seed %d", seed)
	pool := newPool(t)
	rt := &relayTest{
		T: t, store: newStore(t, pool, Options{Schema: newSchema(t, pool)}), destination: newDestination(t),
		random: rand.New(rand.NewPCG(seed, 0)), processes: make(map[string]*crashtest.Process),
	}
	schema := rt.store.options.Schema
	_, err := pool.Exec(t.Context(), strings.NewReplacer("$.", schema+".").Replace(audit))
	require.NoError(t, err)
	rt.spec = childSpec{Address: addressOf(t), Schema: schema, DestinationURL: rt.destination.url, LeaseTime: lease}
	for range processes {
		rt.start()
	}
	stop := make(chan struct{})
	var appending sync.WaitGroup
	for i := range platforms {
		appending.Go(func() { rt.appendUntil(stop, fmt.Sprint("platform-", i)) })
	}
	for i := range rounds {
		rt.awaitDeliveries(rt.random.IntN(100))
		if i%2 == 0 {
			rt.killOne()
		} else {
			rt.pauseOne()
		}
	}
	close(stop)
	appending.Wait()
	rt.check(platforms)
}

func (rt *relayTest) start() {
	spec := rt.spec
	spec.Name = fmt.Sprint("process-", rt.started)
	rt.started++
	rt.processes[spec.Name] = startProcess(rt.T, spec)
}

func (rt *relayTest) appendUntil(stop <-chan struct{}, platform string) {
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-ticks.C:
		}
		if _, err := rt.store.Append(rt.Context(), charges(platform, numbered(fmt.Sprint(i), 1+i%3)...)); err != nil {
			rt.Error(err)
			return
		}
	}
}

func (rt *relayTest) awaitDeliveries(n int) {
	rt.Helper()
	goal := rt.destination.count() + n
	require.Eventually(rt, func() bool { return rt.destination.count() > goal }, time.Minute, time.Millisecond)
}

func (rt *relayTest) victim() (name string, platforms int) {
	rt.destination.mu.Lock()
	holders := make(map[string]bool)
	for _, s := range rt.destination.last {
		if rt.processes[s.Process] != nil {
			holders[s.Process] = true
		}
	}
	rt.destination.mu.Unlock()
	names := slices.Sorted(maps.Keys(holders))
	name = names[rt.random.IntN(len(names))]
	return name, rt.destination.watch(name)
}

func (rt *relayTest) awaitTakeover(platforms int) (last time.Time) {
	rt.Helper()
	require.Eventually(rt, func() bool {
		var n int
		n, last = rt.destination.takeovers()
		return n == platforms
	}, time.Minute, time.Millisecond)
	return last
}

func (rt *relayTest) killOne() {
	name, platforms := rt.victim()
	rt.processes[name].Kill()
	killed := time.Now()
	delete(rt.processes, name)
	rt.start()
	took := rt.awaitTakeover(platforms).Sub(killed)
	rt.longest = max(rt.longest, took)
	require.Less(rt, took, 10*time.Second)
}

func (rt *relayTest) pauseOne() {
	name, platforms := rt.victim()
	require.NoError(rt, rt.processes[name].Signal(syscall.SIGSTOP))
	rt.awaitTakeover(platforms)
	require.NoError(rt, rt.processes[name].Signal(syscall.SIGCONT))
}

func (rt *relayTest) check(platforms int) {
	rt.Helper()
	j := rt.store.Journal()
	require.Eventually(rt, func() bool {
		list, err := j.Status(rt.Context(), "")
		require.NoError(rt, err)
		for _, s := range list {
			if s.Lag != 0 {
				return false
			}
		}
		return len(list) == platforms
	}, time.Minute, 10*time.Millisecond)
	for _, p := range rt.processes {
		require.NoError(rt, p.Stop())
	}
	list, err := j.Status(rt.Context(), "")
	require.NoError(rt, err)
	total, repeated := 0, int64(0)
	for _, s := range list {
		ids := rt.all(s.Platform)
		require.Equal(rt, ids, rt.destination.first[s.Platform], "each event once, in order, without repeats")
		require.EqualValues(rt, len(ids), s.Delivered+s.Repeated)
		require.Equal(rt, ids[len(ids)-1], s.LastEventID)
		require.Zero(rt, s.Parked+s.Dead+s.Lag)
		total += len(ids)
		repeated += s.Repeated
	}
	rt.checkAudit()
	rt.Logf("%d events, %d sent again, of which the journal has %d; longest takeover after a kill %v", total, rt.destination.repeats, repeated, rt.longest)
}

func (rt *relayTest) all(platform string) (ids []string) {
	q := chargeingest.Query{Platform: platform, Order: chargeingest.Ascending, Limit: 5000}
	for {
		page, err := rt.store.List(rt.Context(), q)
		require.NoError(rt, err)
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if q.After = page.Next; q.After == "" {
			return ids
		}
	}
}

func (rt *relayTest) checkAudit() {
	var changes, tokens, stolen, wrong int
	err := rt.store.pool.QueryRow(rt.Context(), strings.ReplaceAll(`SELECT count(*), count(DISTINCT (platform, token)), count(*) FILTER (WHERE stolen),
count(*) FILTER (WHERE token < last_token OR seq < last_seq OR token = last_token AND holder <> last_holder)
FROM (SELECT *, lag(token) OVER w AS last_token, lag(seq) OVER w AS last_seq, lag(holder) OVER w AS last_holder
FROM $.audit WINDOW w AS (PARTITION BY platform ORDER BY n)) a`, "$", rt.store.options.Schema)).Scan(&changes, &tokens, &stolen, &wrong)
	require.NoError(rt, err)
	require.Zero(rt, stolen, "leases that another process had not yet lost")
	require.Zero(rt, wrong, "changes that were not made by the holder of the lease, or went back")
	require.Positive(rt, tokens)
	rt.Logf("%d changes of the journal, %d leases", changes, tokens)
}
