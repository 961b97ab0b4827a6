package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/crashtest"
	"example.com/chargeingest/memstore"
)

const connections = 1000

func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	kilobytes, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return kilobytes << 10
}

func TestManyLargeUploads(t *testing.T) {
	p := startProcess(t, "-api-key", "k")
	const fit = 14 // seven eighths of 64 MiB
	statuses := uploadAtOnce(t, p, connections)
	require.LessOrEqual(t, statuses[http.StatusCreated], fit, statuses)
	require.Positive(t, statuses[http.StatusCreated], statuses)
	require.Positive(t, statuses[http.StatusServiceUnavailable], statuses)
	require.Len(t, statuses, 2)
	memory := peakMemory(t, p.Process.Pid)
	t.Logf("peak memory %d MB, responses %v", memory>>20, statuses)
	if !raceDetector {
		require.Less(t, memory, 512<<20, "of 4 GiB")
	}

	for range 20 {
		if statuses = uploadAtOnce(t, p, fit); statuses[http.StatusCreated] == fit {
			return
		}
	}
	require.Equal(t, map[int]int{http.StatusCreated: fit}, statuses)
}

func uploadAtOnce(t *testing.T, p *serverProcess, n int) map[int]int {
	t.Helper()
	body := strings.Repeat(" ", 4<<20-len(eventLine(1))) + eventLine(1)
	request := []byte("POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nContent-Type: application/json\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	start, last := request[:len(request)-1], request[len(request)-1:]
	var sending sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	begun, allBegun := make(chan struct{}, n), make(chan struct{})
	for range n {
		sending.Go(func() {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				begun <- struct{}{}
				t.Error(err)
				return
			}
			defer conn.Close()
			go func() {
				_, _ = conn.Write(start)
				begun <- struct{}{}
				<-allBegun
				_, _ = conn.Write(last)
			}()
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				return
			}
			defer res.Body.Close()
			if res.StatusCode == http.StatusServiceUnavailable {
				if res.Header.Get("Retry-After") == "" || res.Header.Get("Idempotency-Retryable") != "true" {
					t.Error(res.Header)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[res.StatusCode]++
		})
	}
	for range n {
		<-begun
	}
	close(allBegun)
	sending.Wait()
	return statuses
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

func TestSlowConnectionsAreClosed(t *testing.T) {
	for _, c := range []struct {
		name, start string
		limit       time.Duration
	}{
		{"header", "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-A: ", 6 * time.Second},
		{"body", "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nX-Platform-Id: slow\r\n" +
			"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n", 61 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testSlowConnections(t, c.start, c.limit) })
		})
	}
}

func testSlowConnections(t *testing.T, start string, limit time.Duration) {
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: "k", Subject: "test", Platforms: []string{"healthy", "slow"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	})
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	h, err := chargeingest.New(chargeingest.Config{Store: memstore.New(), Authorizer: keys, Logger: quiet})
	require.NoError(t, err)
	network := &pipes{make(chan net.Conn), make(chan struct{})}
	srv := newHTTPServer(h, nil, quiet)
	go func() { _ = srv.Serve(network) }()
	client := &http.Client{Transport: &http.Transport{DialContext: network.dial}}

	begin := time.Now()
	var slow sync.WaitGroup
	for range connections {
		slow.Go(func() {
			conn, _ := network.dial(t.Context(), "", "")
			defer conn.Close()
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, err := io.WriteString(conn, start)
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(conn, "a")
			}
			if took := time.Since(begin); took > limit {
				t.Errorf("closed after %s", took)
			}
		})
	}
	gone := make(chan struct{})
	go func() {
		slow.Wait()
		close(gone)
	}()
	for n := 0; ; n++ {
		select {
		case <-gone:
			require.Greater(t, n, 3)
			client.CloseIdleConnections()
			require.NoError(t, srv.Close())
			return
		case <-time.After(time.Second):
		}
		req, err := http.NewRequest(http.MethodPost, "http://x/v1/ingest/charge-data", strings.NewReader(eventLine(n)))
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", "k")
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, res.StatusCode)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
}

func TestSignalUnderLoadLosesNoEvent(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.json")
	require.NoError(t, os.WriteFile(keys, []byte(fmt.Sprintf(`[{"key": %q, "subject": "crashtest",
		"platforms": ["acme", "globex"], "permissions": ["METER_DATA.INGEST", "METER_DATA.VIEW"]}]`, crashtest.Secret)), 0o600))
	args := []string{"-db", filepath.Join(dir, "charges.db"), "-keys", keys}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	h := crashtest.NewHistory()
	responses := make(chan struct{}, 1<<16)
	clients := crashtest.NewClients(seed, 8, h, func() { responses <- struct{}{} })
	each := func(f func(*crashtest.Client)) (wait func()) {
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(func() { f(c) })
		}
		return all.Wait
	}
	for range 3 {
		for len(responses) > 0 {
			<-responses
		}
		p := startProcess(t, args...)
		wait := each(func(c *crashtest.Client) { c.Run(t.Context(), p.url) })
		for range 200 {
			<-responses
		}
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		<-p.ended
		require.NoError(t, p.err, p.log)
		wait()
	}
	p := startProcess(t, args...)
	each(func(c *crashtest.Client) { require.True(t, c.Resolve(t.Context(), p.url)) })()
	stored, err := crashtest.List(t.Context(), p.url)
	require.NoError(t, err)
	require.NoError(t, h.Check(stored))
}
