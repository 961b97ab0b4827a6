package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestInspectorMode(t *testing.T) {
	loopback, public := &net.TCPAddr{IP: net.IPv6loopback}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}
	socket, all := &net.UnixAddr{Name: "/run/s", Net: "unix"}, &net.TCPAddr{IP: net.IPv6unspecified}
	keys := new(chargeingest.Keys)
	for name, c := range map[string]struct {
		addr   net.Addr
		passed bool
		keys   *chargeingest.Keys
		want   inspectorMode
	}{
		"loopback":                       {loopback, false, keys, inspectorOn},
		"all interfaces":                 {all, false, keys, inspectorOff},
		"public address":                 {public, false, keys, inspectorOff},
		"unix socket":                    {socket, false, keys, inspectorOff},
		"socket of systemd":              {loopback, true, keys, inspectorOff},
		"only tokens, without any login": {loopback, false, nil, inspectorOff},
	} {
		t.Run(name, func(t *testing.T) {
			l := listeners{main: listenerAt{addr: c.addr}, passed: c.passed}
			require.Equal(t, c.want, inspectorAuto.resolve(l, c.keys))
			require.Equal(t, inspectorOn, inspectorOn.resolve(l, c.keys))
			require.Equal(t, inspectorOff, inspectorOff.resolve(l, c.keys))
		})
	}
}

type listenerAt struct {
	net.Listener
	addr net.Addr
}

func (l listenerAt) Addr() net.Addr { return l.addr }

func TestInspectorLink(t *testing.T) {
	line := func(s *runningServer) string {
		_, rest, _ := strings.Cut(s.out.String(), "Inspector: ")
		link, _, _ := strings.Cut(rest, "\n")
		return link
	}
	s := startServer(t)
	require.Equal(t, s.url+"/inspector/#key="+s.key, line(s))
	s = startServer(t, "-api-key", "configured-key")
	require.Equal(t, s.url+"/inspector/", line(s))
	s = startServer(t, "-inspector", "off")
	require.Empty(t, line(s))
	s = startServer(t, "-addr", "0.0.0.0:0")
	require.Empty(t, line(s))
	s = startServer(t, "-addr", "0.0.0.0:0", "-inspector", "on")
	require.Equal(t, s.url+"/inspector/#key="+s.key, line(s))
}

func TestInspectorOff(t *testing.T) {
	s := startServer(t, "-inspector", "off")
	for _, path := range []string{"/inspector", "/inspector/", "/inspector/api/session"} {
		status, text := s.send(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, status)
		require.Contains(t, text, "RESOURCE_NOT_FOUND")
	}
}

func TestInspectorRedirect(t *testing.T) {
	s := startServer(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(s.url + "/inspector")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "inspector/", res.Header.Get("Location"), "relative, for proxies that add a prefix")
	status, text := s.send(t, http.MethodGet, "/inspector", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, text, "<!DOCTYPE html>")
}

type inspected struct {
	Status                             int
	Path, Platform, Code, Field, Route string
}

func (s *runningServer) inspected(t *testing.T, key string) (list []inspected) {
	t.Helper()
	s.key = key
	status, text := s.send(t, http.MethodGet, "/inspector/api/requests", "")
	require.Equal(t, http.StatusOK, status, text)
	var page struct{ Requests []inspected }
	require.NoError(t, json.Unmarshal([]byte(text), &page))
	return page.Requests
}

func TestInspectorShowsRejection(t *testing.T) {
	s := startServer(t)
	invalid := strings.Replace(eventLine(1), `"1.50"`, `1.5`, 1)
	status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", invalid)
	require.Equal(t, http.StatusBadRequest, status)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/inspector/"} {
		status, _ = s.send(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, status, path)
	}
	require.Equal(t, []inspected{{
		http.StatusBadRequest, "/v1/ingest/charge-data", "default", "INVALID_FIELD", "value.number", "charge-data",
	}}, s.inspected(t, s.key))
}

func TestInspectorReadsLeaveNoTrace(t *testing.T) {
	s := startServer(t)
	status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", "{}")
	require.Equal(t, http.StatusBadRequest, status)
	counted := func() (lines []string) {
		_, text := s.send(t, http.MethodGet, "/metrics", "")
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "chargeingest_requests_total") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	metrics, log := counted(), s.log.String()
	require.Len(t, metrics, 3)
	for _, path := range []string{"", "api/session", "api/requests", "api/overview", "api/events", "api/events/none"} {
		status, _ := s.send(t, http.MethodGet, "/inspector/"+path, "")
		require.NotEqual(t, http.StatusUnauthorized, status, path)
	}
	s.key = "wrong"
	status, _ = s.send(t, http.MethodGet, "/inspector/api/session", "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, metrics, counted())
	require.Equal(t, log, s.log.String())
}

func TestInspectorOfTenants(t *testing.T) {
	statuses := func(list []inspected) (found []int) {
		for _, r := range list {
			found = append(found, r.Status)
		}
		return found
	}
	s := startServer(t, "-keys", tenantKeyFile(t))
	for key, body := range map[string]string{"key-a": eventLine(1), "key-b": "{}", "unknown": "{}"} {
		s.key = key
		s.send(t, http.MethodPost, "/v1/ingest/charge-data", body)
	}
	require.Equal(t, []int{http.StatusCreated}, statuses(s.inspected(t, "key-a")))
	require.Equal(t, []int{http.StatusBadRequest}, statuses(s.inspected(t, "key-b")))

	single := startServer(t, "-api-key", "key-a")
	single.key = "unknown"
	single.send(t, http.MethodPost, "/v1/ingest/charge-data", "{}")
	require.Equal(t, []int{http.StatusUnauthorized}, statuses(single.inspected(t, "key-a")), "there is only one tenant")
}

func tenantKeyFile(t *testing.T) string {
	t.Helper()
	return writeFile(t, "keys.json", `[
		{"key":"key-a","subject":"a","platforms":["a"],"permissions":["METER_DATA.INGEST","METER_DATA.VIEW"]},
		{"key":"key-b","subject":"b","platforms":["b"],"permissions":["METER_DATA.INGEST","METER_DATA.VIEW"]}]`)
}

func (s *runningServer) stream(t *testing.T) *bufio.Reader {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+"/inspector/api/stream", nil)
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", s.key)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport}).Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	require.Equal(t, http.StatusOK, res.StatusCode)
	return bufio.NewReader(res.Body)
}

func TestStreamsEndAtShutdown(t *testing.T) {
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	for name, args := range map[string][]string{"http": nil, "https": {"-tls-cert", certFile, "-tls-key", keyFile}} {
		t.Run(name, func(t *testing.T) {
			tp := newTestProgram()
			tp.timeouts.total, tp.timeouts.stalledResponse, tp.timeouts.connections = time.Hour, time.Hour, time.Hour
			s := tp.start(t, args...)
			lines := s.stream(t)
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.JSONEq(t, `{"newest":0}`, line)
			s.stop()
			for err == nil {
				_, err = lines.ReadString('\n')
			}
			<-s.done
			require.Zero(t, s.status, s.log)
		})
	}
}

func TestStreamOutlivesTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, err := parseForTest(newTestProgram(), "-api-key", "k", "-inspector", "on")
		require.NoError(t, err)
		metrics, err := newMetrics()
		require.NoError(t, err)
		svc, err := newService(cfg, nil, memstore.New(), new(relays), metrics, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		network := &pipes{make(chan net.Conn), make(chan struct{})}
		var requests inFlight
		srv := newHTTPServer(requests.track(svc), nil, slog.New(slog.DiscardHandler))
		go func() { _ = srv.Serve(network) }()
		client := &http.Client{Transport: &http.Transport{DialContext: network.dial}}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://x/inspector/api/stream", nil)
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", "k")
		res, err := client.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for begin := time.Now(); time.Since(begin) < 5*time.Minute; {
			_, err := lines.ReadString('\n') // heartbeats
			require.NoError(t, err, time.Since(begin))
		}
		require.NoError(t, srv.Shutdown(t.Context()))
	})
}
