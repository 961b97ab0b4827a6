package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startImpatient(t *testing.T, args ...string) *serverProcess {
	t.Helper()
	return startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, asProgram+"=100ms") },
		append([]string{"-db", inMemory, "-api-key", "k", "-unknown-fields", "keep"}, args...)...)
}

type rawConn struct {
	net.Conn
	in *bufio.Reader
}

func dialRaw(t *testing.T, p *serverProcess) *rawConn {
	t.Helper()
	network, address := "tcp", strings.TrimPrefix(p.url, "http://")
	if path, ok := strings.CutPrefix(p.url, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.Dial(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return &rawConn{conn, bufio.NewReader(conn)}
}

func (c *rawConn) send(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(t, err)
}

func (c *rawConn) response(t *testing.T) (status int, header http.Header, text string) {
	t.Helper()
	res, err := http.ReadResponse(c.in, nil)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header, string(body)
}

func (p *serverProcess) fillPage(t *testing.T, client *http.Client) {
	t.Helper()
	for n := range 2 {
		event := strings.Replace(eventLine(n+1), "{", `{"large":"`+strings.Repeat("x", 500<<10)+`",`, 1)
		req, err := http.NewRequest(http.MethodPost, p.url+"/v1/ingest/charge-data", strings.NewReader(event))
		require.NoError(t, err)
		req.Header.Set("X-API-KEY", "k")
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusCreated, res.StatusCode)
	}
}

func TestShutdownWithStalledClients(t *testing.T) {
	t.Parallel()
	p := startImpatient(t)
	p.fillPage(t, http.DefaultClient)

	dialRaw(t, p) // sends nothing
	for _, text := range []string{
		"POST /v1/ing",
		"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
		"GET /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
		"GET /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nContent-Length: 9\r\n\r\n{",
		"POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
		"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n{",
	} {
		dialRaw(t, p).send(t, text)
	}
	reused := dialRaw(t, p)
	reused.send(t, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	reused.response(t)
	reused.send(t, "GET /livez HTTP/1.1\r\nHost")

	deaf := dialRaw(t, p)
	require.NoError(t, deaf.Conn.(*net.TCPConn).SetReadBuffer(1))
	deaf.send(t, "GET /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\n\r\n")
	_, err := deaf.in.Peek(1)
	require.NoError(t, err)

	const head = "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
	var late []*rawConn
	for _, rest := range []string{
		"Content-Length: 9\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n",
		"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n",
	} {
		c := dialRaw(t, p)
		c.send(t, head+rest)
		line, err := c.in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
		_, err = c.in.Discard(len("\r\n"))
		require.NoError(t, err)
		late = append(late, c)
	}
	late[0].send(t, "{")
	late[1].send(t, "9\r\n{")
	late[2].send(t, "a\r\n\x1f\x8b\x08\x00")

	begin := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	for _, c := range late {
		status, header, body := c.response(t)
		require.Equal(t, http.StatusServiceUnavailable, status, body)
		require.Equal(t, "1", header.Get("Retry-After"))
		require.Equal(t, "true", header.Get("Idempotency-Retryable"))
		require.Contains(t, body, "shutting down")
	}
	<-p.ended
	require.NoError(t, p.err, p.log)
	require.Less(t, time.Since(begin), 10*time.Second)
}

func TestShutdownAcceptsALateBody(t *testing.T) {
	t.Parallel()
	p := startProcessWith(t, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, asProgram+"=1h") }, "-db", inMemory, "-api-key", "k")
	c := dialRaw(t, p)
	event := eventLine(1)
	c.send(t, "POST /v1/ingest/charge-data HTTP/1.1\r\nHost: x\r\nX-API-KEY: k\r\nContent-Type: application/json\r\n"+
		"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	_, err := c.in.Discard(len("HTTP/1.1 100 Continue\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.True(t, p.log.waitFor("msg=stopping", p.ended), p.log)
	c.send(t, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event))
	status, _, body := c.response(t)
	require.Equal(t, http.StatusCreated, status, body)
	<-p.ended
	require.NoError(t, p.err, p.log)
}

const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameSettings = 0x4

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
)

type h2Conn struct{ *rawConn }

func dialH2(t *testing.T, p *serverProcess, window uint32) *h2Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	c := &h2Conn{&rawConn{conn, bufio.NewReader(conn)}}
	c.send(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	c.frame(t, frameSettings, 0, 0, string(binary.BigEndian.AppendUint32([]byte{0, 4}, window)))
	return c
}

func (c *h2Conn) frame(t *testing.T, kind, flags byte, stream uint32, payload string) {
	t.Helper()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = append(head, flags)
	head = binary.BigEndian.AppendUint32(head, stream)
	c.send(t, string(head)+payload)
}

// request requires names and values of at most 126 bytes.
func (c *h2Conn) request(t *testing.T, flags byte, stream uint32, method, path string, header ...string) {
	t.Helper()
	var block strings.Builder
	header = append([]string{":method", method, ":scheme", "https", ":path", path, ":authority", "x"}, header...)
	for i := 0; i < len(header); i += 2 {
		block.WriteByte(0) // a literal with a new name, not indexed
		for _, text := range header[i : i+2] {
			block.WriteByte(byte(len(text)))
			block.WriteString(text)
		}
	}
	c.frame(t, frameHeaders, flags|flagEndHeaders, stream, block.String())
}

func (c *h2Conn) readUntil(t *testing.T, kind byte, stream uint32) (payload string) {
	t.Helper()
	for {
		var head [9]byte
		_, err := io.ReadFull(c.in, head[:])
		require.NoError(t, err)
		body := make([]byte, binary.BigEndian.Uint32(head[:])>>8)
		_, err = io.ReadFull(c.in, body)
		require.NoError(t, err)
		if head[3] == kind && binary.BigEndian.Uint32(head[5:]) == stream {
			return string(body)
		}
		if head[3] == frameSettings && head[4]&flagAck == 0 {
			c.frame(t, frameSettings, flagAck, 0, "")
		}
	}
}

func TestShutdownWithStalledHTTP2Clients(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificateFor(t, "127.0.0.1")
	p := startImpatient(t, "-tls-cert", certFile, "-tls-key", keyFile)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	p.fillPage(t, &http.Client{Transport: transport})

	deaf := dialH2(t, p, 0)
	deaf.request(t, flagEndStream, 1, http.MethodGet, "/v1/ingest/charge-data")
	deaf.readUntil(t, frameHeaders, 1)
	deaf.request(t, flagEndStream, 3, http.MethodGet, "/v1/ingest/charge-data", "x-api-key", "k")
	deaf.readUntil(t, frameHeaders, 3)

	idle := dialH2(t, p, 1<<20)
	idle.readUntil(t, frameSettings, 0)

	late := dialH2(t, p, 1<<20)
	late.request(t, 0, 1, http.MethodPost, "/v1/ingest/charge-data", "x-api-key", "k", "content-type", "application/json")
	late.frame(t, frameData, 0, 1, "{")
	late.request(t, flagEndStream, 3, http.MethodGet, "/livez")
	late.readUntil(t, frameHeaders, 3)

	begin := time.Now()
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Contains(t, late.readUntil(t, frameData, 1), "shutting down")
	<-p.ended
	require.NoError(t, p.err, p.log)
	require.Less(t, time.Since(begin), 10*time.Second)
}
