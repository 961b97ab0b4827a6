package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

const relayKey = "key-at-the-destination"

func startRelay(t *testing.T, url string, args ...string) *runningServer {
	t.Helper()
	tp := newTestProgram()
	tp.tuneRelay = func(c *relay.Config) {
		c.Schedule = relay.Schedule{Min: time.Millisecond, Max: time.Millisecond}
		c.PollInterval = time.Hour // requests start the delivery
	}
	tp.env["CHARGEINGEST_RELAY_API_KEY"] = relayKey
	return tp.start(t, append([]string{"-relay-url", url}, args...)...)
}

func (s *runningServer) sendEvents(t *testing.T, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(n))
		require.Equal(t, http.StatusCreated, status, text)
	}
}

func (s *runningServer) references(t *testing.T) (all []string) {
	t.Helper()
	for _, text := range s.events(t) {
		var e struct{ Reference string }
		require.NoError(t, json.Unmarshal([]byte(text), &e))
		all = append(all, e.Reference)
	}
	return all
}

func (s *runningServer) awaitEvents(t *testing.T, n int) {
	t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("ref-%d", i+1))
	}
	require.Eventually(t, func() bool { return len(s.events(t)) >= n }, 20*time.Second, time.Millisecond)
	require.Equal(t, want, s.references(t), "in order, each once")
}

// awaitStatus must precede awaitMetrics, because the status is cached there.
func (s *runningServer) awaitStatus(t *testing.T, field string) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, text := s.send(t, http.MethodGet, "/relay/status", "")
		return status == http.StatusOK && strings.Contains(text, field)
	}, 20*time.Second, time.Millisecond, field)
}

func (s *runningServer) awaitMetrics(t *testing.T, lines ...string) {
	t.Helper()
	found := func(line string) bool {
		_, text := s.send(t, http.MethodGet, "/metrics", "")
		return strings.Contains(text, "\nchargeingest_relay_"+line+"\n")
	}
	for _, line := range lines {
		require.Eventually(t, func() bool { return found(line) }, 20*time.Second, 5*time.Millisecond, line)
	}
}

func testRelay(t *testing.T, db string) {
	t.Helper()
	destination := startServer(t, "-api-key", relayKey)
	destination.key = relayKey
	s := startRelay(t, destination.url, "-db", db)
	s.sendEvents(t, 1, 2)
	status, text := s.send(t, http.MethodPost, "/v1/ingest/charge-datas", `{"charge_datas":[`+eventLine(3)+","+eventLine(4)+"]}")
	require.Equal(t, http.StatusCreated, status, text)
	destination.awaitEvents(t, 4)
	s.awaitStatus(t, `"delivered":4`)
	name := fmt.Sprintf("%q", destination.url)
	s.awaitMetrics(t, "events_total{destination="+name+`,result="delivered"} 4`, "up{destination="+name+"} 1", "lag_events{destination="+name+"} 0")
	require.Contains(t, s.out.String(), "\nEvents are relayed to "+destination.url+"\n")
	require.Contains(t, s.log.String(), `msg="relaying events" destination=`+destination.url)
	status, text = s.send(t, http.MethodGet, "/inspector/relay/status", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, `"delivered":4`)
	s.key = "unknown"
	status, _ = s.send(t, http.MethodGet, "/relay/status", "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = destination.send(t, http.MethodGet, "/relay/status", "")
	require.Equal(t, http.StatusNotFound, status, "a server without a relay")
	s.stop()
	<-s.done
	require.Zero(t, s.status)
	require.NotContains(t, s.out.String()+s.log.String(), relayKey)
}

func TestRelayFromMemory(t *testing.T) { t.Parallel(); testRelay(t, inMemory) }

func TestRelayFromSQLite(t *testing.T) {
	t.Parallel()
	testRelay(t, filepath.Join(t.TempDir(), "charges.db"))
}

func TestRelayFromNow(t *testing.T) {
	t.Parallel()
	destination := startServer(t, "-api-key", relayKey)
	destination.key = relayKey
	db := filepath.Join(t.TempDir(), "charges.db")
	s := startServer(t, "-db", db)
	s.sendEvents(t, 1)
	s.stop()
	<-s.done
	s = startRelay(t, destination.url, "-db", db, "-relay-from", "now")
	s.awaitStatus(t, `"lag":0`)
	s.sendEvents(t, 2)
	s.awaitStatus(t, `"delivered":1`)
	require.Equal(t, []string{"ref-2"}, destination.references(t))
}

func TestRelayDestinationDown(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	s := startRelay(t, "http://"+addr)
	s.sendEvents(t, 1, 2, 3)
	s.awaitStatus(t, `"failure":"`)
	name := fmt.Sprintf("%q", "http://"+addr)
	s.awaitMetrics(t, "up{destination="+name+"} 0", "lag_events{destination="+name+"} 3", "parked_events{destination="+name+"} 0")
	for _, path := range []string{"/livez", "/readyz"} {
		status, _ := s.send(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status)
	}
	destination := newTestProgram().start(t, "-addr", addr, "-api-key", relayKey)
	destination.key = relayKey
	destination.awaitEvents(t, 3)
	s.awaitMetrics(t, "up{destination="+name+"} 1", "events_total{destination="+name+`,result="parked"} 0`)
}

func TestRelayQueuesDown(t *testing.T) {
	t.Parallel()
	tp := newTestProgram()
	tp.env["CHARGEINGEST_RELAY_NATS"] = "nats://user:secret@127.0.0.1:1/charges"
	tp.env["CHARGEINGEST_RELAY_KAFKA"] = "kafka://user:secret@127.0.0.1:1,127.0.0.1:2/charges?sasl=plain"
	s := tp.start(t)
	require.Contains(t, s.out.String(), "\nEvents are relayed to nats:charges\nEvents are relayed to kafka:charges\n")
	s.sendEvents(t, 1)
	s.awaitStatus(t, `"destination":"nats:charges","platform":"default"`)
	status, _ := s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status)
	begin := time.Now()
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)
	require.Less(t, time.Since(begin), 10*time.Second)
	require.NotContains(t, s.out.String()+s.log.String(), "secret")
}

func proxyTo(t *testing.T, target string, after func(r *http.Request)) string {
	t.Helper()
	u, err := url.Parse(target)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ModifyResponse = func(res *http.Response) error {
		after(res.Request)
		return nil
	}
	srv := httptest.NewServer(proxy)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestRelayOfKilledServer(t *testing.T) {
	t.Parallel()
	destination := startServer(t, "-api-key", relayKey)
	destination.key = relayKey
	stored := make(chan struct{}, 100)
	killed := make(chan struct{})
	target := proxyTo(t, destination.url, func(r *http.Request) {
		stored <- struct{}{}
		select {
		case <-killed:
		case <-r.Context().Done():
		}
	})
	db := filepath.Join(t.TempDir(), "charges.db")
	start := func() *runningServer {
		p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "CHARGEINGEST_RELAY_API_KEY="+relayKey) },
			"-db", db, "-api-key", "k", "-relay-url", target)
		return &runningServer{url: p.url, key: "k", stop: func() {
			_ = p.Process.Kill()
			<-p.ended
		}}
	}
	s := start()
	s.sendEvents(t, 1, 2)
	<-stored
	s.sendEvents(t, 3, 4)
	s.stop()
	close(killed)
	s = start()
	s.sendEvents(t, 5)
	destination.awaitEvents(t, 5)
}

func TestShutdownWithHangingDestination(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		entered <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	s := startRelay(t, srv.URL, "-db", filepath.Join(t.TempDir(), "charges.db"))
	s.sendEvents(t, 1)
	<-entered
	begin := time.Now()
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)
	require.Less(t, time.Since(begin), 10*time.Second)
	require.NotContains(t, s.log.String(), "closed", "the relay ends before the store")
}

func TestRelayEndsBeforeStore(t *testing.T) {
	t.Parallel()
	tp := newTestProgram()
	tp.env["CHARGEINGEST_RELAY_API_KEY"] = relayKey
	entered, ended := make(chan struct{}), make(chan struct{})
	tp.tuneRelay = func(c *relay.Config) {
		c.Sink = relay.SinkFunc(func(ctx context.Context, _ string, _ []chargeingest.StoredEvent) ([]relay.Result, error) {
			close(entered)
			<-ctx.Done()
			for !strings.Contains(tp.log.String(), "msg=stopped") {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(10 * time.Millisecond) // in which a server without a relay ends
			close(ended)
			return nil, ctx.Err()
		})
	}
	s := tp.start(t, "-relay-url", "http://h")
	s.sendEvents(t, 1)
	<-entered
	s.stop()
	<-s.done
	require.Zero(t, s.status, s.log)
	select {
	case <-ended:
	default:
		require.Fail(t, "the store was closed before the relay ended")
	}
}

func TestRelayThatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := memstore.New()
		_, err := events.Append(t.Context(), oldEvent(time.Now()))
		require.NoError(t, err)
		release := make(chan struct{})
		sink := relay.SinkFunc(func(context.Context, string, []chargeingest.StoredEvent) ([]relay.Result, error) {
			<-release
			return nil, context.Canceled
		})
		one, err := relay.New(relay.Config{Name: "stuck", Source: events, Journal: events.Journal(), Sink: sink, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		closed := 0
		r := &relays{relays: []*relay.Relay{one}, destinations: []destination{{"stuck", sink, func() { closed++ }}}, logger: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		stop := r.start(ctx, 30*time.Second)
		synctest.Wait()
		begin := time.Now()
		cancel()
		time.Sleep(29 * time.Second) // of the requests in flight
		require.ErrorContains(t, stop(), "did not end within 30s")
		require.Equal(t, 30*time.Second, time.Since(begin))
		require.Equal(t, 1, closed)
		close(release)
	})
}

func TestRelayPlatformNeedsOnePlatform(t *testing.T) {
	events := memstore.New()
	for _, platform := range []string{"acme", chargeingest.DefaultPlatform} {
		b := oldEvent(time.Now())
		b.Platform = platform
		_, err := events.Append(t.Context(), b)
		require.NoError(t, err)
	}
	tp := newTestProgram()
	tp.openStore = func(context.Context, string, storeOptions) (store, error) { return events, nil }
	status := tp.run(t.Context(), []string{"-addr", "127.0.0.1:0", "-relay-url", "http://h", "-relay-api-key", "k", "-relay-platform", "x"})
	require.Equal(t, cli.StatusUsage, status)
	require.Contains(t, tp.log.String(), `-relay-platform: must not be set, because the database has events of several platforms, such as "acme" and "default"`)
}
