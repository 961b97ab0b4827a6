package chargeingest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire is a server on loopback that is spoken to by hand.
type rawServer struct{ address string }

func (f *fixture) rawServer(t *testing.T) rawServer {
	t.Helper()
	srv := httptest.NewUnstartedServer(f.handler)
	srv.Config.MaxHeaderBytes = 16 << 10
	srv.Start()
	t.Cleanup(srv.Close)
	return rawServer{srv.Listener.Addr().String()}
}

// dial connects to the server for as long as no request should take.
func (w rawServer) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

// say writes a text and returns all responses until the server closes, which it is
// asked to by a last request where the text does not.
func (w rawServer) roundTrips(t *testing.T, text string) []response {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }() // the server has closed it
	require.NoError(t, conn.SetDeadline(time.Now().Add(hostileTimeout)))
	go func() {
		_, _ = io.WriteString(conn, text) // a server that refuses does not read all of it
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	var responses []response
	for in := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return responses
		}
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		resp := response{status: res.StatusCode, header: res.Header, text: string(body)}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
			require.NoError(t, json.Unmarshal(body, &resp.body))
		}
		requireNoSecret(t, resp.text)
		responses = append(responses, resp)
	}
}

func statuses(responses []response) []int {
	list := []int{}
	for _, resp := range responses {
		list = append(list, resp.status)
	}
	return list
}

// head is the start of a request of one event; more headers may follow.
func requestHead(line string) string {
	return line + "\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nContent-Type: application/json\r\n"
}

const postLine = "POST " + eventPath + " HTTP/1.1"

// readResponse reads a response.
func readResponse(t *testing.T, in *bufio.Reader) response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.NotEmpty(t, res.Header.Get("X-Request-Id"), "a response of the handler")
	if res.Close { // ReadResponse has taken the header out
		res.Header.Set("Connection", "close")
	}
	return response{status: res.StatusCode, header: res.Header, text: string(body)}
}

// exchangeRaw writes a POST of one event by hand and returns the status of the
// response, and whether the server asked for the body before it.
func (f *fixture) postRaw(t *testing.T, headers, body string) (status int, continued bool) {
	t.Helper()
	srv := f.serve(t)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n%s\r\n", eventPath, len(body), headers)
	require.NoError(t, err)
	expects := strings.Contains(headers, "Expect:")
	if !expects {
		_, err = conn.Write([]byte(body))
		require.NoError(t, err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	if expects && res.StatusCode == http.StatusContinue {
		continued = true
		_, err = conn.Write([]byte(body))
		require.NoError(t, err)
		res, err = http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	return res.StatusCode, continued
}

// pipes is a listener within a synctest bubble: its connections are net.Pipes, which
// have deadlines of the bubble's clock and no buffers.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error { close(p.closed); return nil }

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// piped is a server within a bubble.
type pipeServer struct {
	*http.Server
	listener *pipeListener
}

func (f *fixture) pipeServer(t *testing.T, wrap ...func(http.Handler) http.Handler) *pipeServer {
	t.Helper()
	h := http.Handler(f.handler)
	for _, w := range wrap {
		h = w(h)
	}
	p := &pipeServer{&http.Server{Handler: h, Protocols: new(http.Protocols)}, &pipeListener{make(chan net.Conn), make(chan struct{})}}
	p.Protocols.SetHTTP1(true)
	p.Protocols.SetUnencryptedHTTP2(true)
	return p
}

// dial starts the server if it has not been, and connects to it.
func (p *pipeServer) dial(t *testing.T) net.Conn {
	t.Helper()
	go func() { _ = p.Serve(p.listener) }()
	client, server := net.Pipe()
	p.listener.conns <- server
	t.Cleanup(func() { _ = client.Close(); _ = p.Close() })
	return client
}

// shutdown returns how long the server takes to shut down.
func (p *pipeServer) shutdown(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Shutdown(ctx))
	return time.Since(start)
}

// write writes a text without waiting for it to be read.
func writeAsync(conn net.Conn, text string) { go func() { _, _ = io.WriteString(conn, text) }() }

// ends waits until the server closes, and returns what it has sent until then and
// how long that took.
func readUntilClose(t *testing.T, in io.Reader) (rest string, after time.Duration) {
	t.Helper()
	start := time.Now()
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	return string(text), time.Since(start)
}

// frame is a frame of HTTP/2.
func h2Frame(kind, flags byte, stream byte, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}) + payload
}

// h2Get is a GET over HTTP/2 of a client that accepts no byte of a response's body:
// its window is 0.
func h2Get(path string, headers ...string) string {
	const window, end = "\x00\x04\x00\x00\x00\x00", 1
	return h2Connection(window, end, "\x82", path, headers)
}

// h2Post is a POST over HTTP/2 whose body does not come.
func h2Post(path string, headers ...string) string { return h2Connection("", 0, "\x83", path, headers) }

func h2Connection(settings string, flags byte, method, path string, headers []string) string {
	const settingsFrame, headersFrame, endHeaders = 4, 1, 4
	block := method + "\x86\x04" + string(rune(len(path))) + path + "\x01\x01x" // http, the host x
	for i := 0; i < len(headers); i += 2 {
		block += "\x00" + string(rune(len(headers[i]))) + headers[i] + string(rune(len(headers[i+1]))) + headers[i+1]
	}
	return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		h2Frame(settingsFrame, 0, 0, settings) + h2Frame(headersFrame, flags|endHeaders, 1, block)
}
