//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func (p *serverProcess) post(client *http.Client, key, event string) (status int, err error) {
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/ingest/charge-data", strings.NewReader(event))
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func TestKeyRotationUnderLoad(t *testing.T) {
	const clients, rotations = 8, 5
	path := writeFile(t, "keys.json", keyList(keyEntry("key-0", "s-0")))
	p := startProcess(t, "-keys", path)
	var (
		running  sync.WaitGroup
		key      atomic.Pointer[string]
		stop     atomic.Bool
		requests atomic.Int64
		using    [clients]atomic.Pointer[string] // the key of the request in flight
	)
	use := func(name string) { key.Store(&name) }
	use("key-0")
	for i := range clients {
		running.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for n := 0; !stop.Load(); n++ {
				current := key.Load()
				using[i].Store(current)
				status, err := p.post(client, *current, strings.Replace(eventLine(n), "ref-", fmt.Sprintf("c%d-", i), 1))
				if err != nil || status != http.StatusCreated {
					t.Errorf("client %d, request %d with %s: %d %v", i, n, *current, status, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	defer running.Wait()
	defer stop.Store(true)
	everyClient := func(name string) {
		for i := range using {
			for u := using[i].Load(); u == nil || *u != name; u = using[i].Load() {
				runtime.Gosched()
				if t.Failed() {
					return
				}
			}
		}
	}
	for n := range rotations {
		everyClient(fmt.Sprintf("key-%d", n))
		older, newer := keyEntry(fmt.Sprintf("key-%d", n), fmt.Sprintf("s-%d", n)), keyEntry(fmt.Sprintf("key-%d", n+1), fmt.Sprintf("s-%d", n+1))
		replaceFile(t, path, keyList(older, newer))
		require.True(t, p.log.waitFor(fmt.Sprintf("added=s-%d ", n+1), p.ended))
		use(fmt.Sprintf("key-%d", n+1))
		everyClient(fmt.Sprintf("key-%d", n+1))
		overwrite(t, path, keyList(newer))
		if n%2 == 0 {
			require.NoError(t, p.Process.Signal(syscall.SIGHUP))
		}
		require.True(t, p.log.waitFor(fmt.Sprintf("removed=s-%d ", n), p.ended))
		status, err := p.post(http.DefaultClient, fmt.Sprintf("key-%d", n), eventLine(1))
		require.NoError(t, err)
		require.Equal(t, http.StatusUnauthorized, status)
	}
	stop.Store(true)
	running.Wait()
	t.Logf("%d requests, %d keys replaced", requests.Load(), rotations)
	require.NotContains(t, p.log.String(), "key-")
	p.end(t)
}

func sendHead(t *testing.T, p *serverProcess, key string, size int) *rawConn {
	t.Helper()
	c := dialRaw(t, p)
	c.send(t, fmt.Sprintf("POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", key, size))
	line, err := c.in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = c.in.Discard(len("\r\n"))
	require.NoError(t, err)
	return c
}

func TestRequestInFlightOutlivesItsKey(t *testing.T) {
	path := writeFile(t, "keys.json", keyList(keyEntry("old", "s-old")))
	p := startProcess(t, "-keys", path, "-db", inMemory)
	event := eventLine(1)
	c := sendHead(t, p, "old", len(event))
	replaceFile(t, path, keyList(keyEntry("new", "s-new")))
	require.True(t, p.log.waitFor("removed=s-old ", p.ended), p.log)
	status, err := p.post(http.DefaultClient, "old", event)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, status)
	c.send(t, event)
	status, _, body := c.response(t)
	require.Equal(t, http.StatusCreated, status, body)
	p.end(t)
}

func hangUp(t *testing.T, p *serverProcess) {
	t.Helper()
	for range 5 {
		require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	}
}

func TestHangupDuringTheStart(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	cmd := asProcess(t, "-addr", "127.0.0.1:0", "-api-key", "k", "-db", "postgres://u@"+silent.Addr().String()+"/d?connect_timeout=60")
	log := newRecorder()
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = cmd.Wait()
	}()
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	conn, acceptErr := silent.Accept()
	require.NoError(t, acceptErr)
	defer conn.Close()
	hangUp(t, &serverProcess{Cmd: cmd})
	require.True(t, log.waitFor("SIGHUP ignored", ended), log)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	<-ended
	require.NoError(t, err, log)
}

func TestHangupDuringTheShutdown(t *testing.T) {
	path := writeFile(t, "keys.json", keyList(keyEntry("k", "s")))
	p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, asProgram+"=1h") }, "-db", inMemory, "-keys", path)
	event := eventLine(1)
	c := sendHead(t, p, "k", len(event))
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.True(t, p.log.waitFor("msg=stopping", p.ended), p.log)
	hangUp(t, p)
	require.True(t, p.log.waitFor("keys reloaded", p.ended), p.log)
	c.send(t, event)
	status, _, body := c.response(t)
	require.Equal(t, http.StatusCreated, status, body)
	<-p.ended
	require.NoError(t, p.err, p.log)
}

func TestKeysFromAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	go func() { _ = os.WriteFile(path, []byte(keyList(keyEntry("k", "s"))), 0) }()
	r := newReloading(t, "-keys", path)
	r.polls(5)
	require.Empty(t, r.outcomes)
	r.reload()
	require.ErrorIs(t, r.outcomes[0], errNotRegular)
	require.True(t, r.accepts("k"))
}

func notifySocket(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return path, func() string {
		var message [1000]byte
		n, err := conn.Read(message[:])
		require.NoError(t, err)
		text, _, _ := bytes.Cut(message[:n], []byte("\nMONOTONIC_USEC="))
		return string(text)
	}
}

func TestServiceManagerIsNotified(t *testing.T) {
	path, next := notifySocket(t)
	keys := writeFile(t, "keys.json", keyList(keyEntry("k", "s")))
	p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path) }, "-db", inMemory, "-keys", keys)
	require.Equal(t, "READY=1", next())
	require.Equal(t, http.StatusOK, p.status(t, "/readyz"))
	require.NoError(t, p.Process.Signal(syscall.SIGHUP))
	require.Equal(t, "RELOADING=1", next())
	require.Equal(t, "READY=1", next())
	require.True(t, p.log.waitFor("keys reloaded", p.ended), p.log)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "STOPPING=1", next())
	<-p.ended
	require.NoError(t, p.err, p.log)
}

func TestHangupDuringTheStartIsNotReady(t *testing.T) {
	path, next := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	m := &serviceManager{logger: nil}
	reloads := 0
	m.reload(func() { reloads++ })
	m.started()
	require.Equal(t, "READY=1", next())
	m.stopping()
	m.reload(func() { reloads++ })
	m.started()
	require.Equal(t, "STOPPING=1", next())
	require.Equal(t, "READY=1", next())
	require.Equal(t, 2, reloads)
}
