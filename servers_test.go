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

type rawServer struct{ address string }

func (f *fixture) rawServer(t *testing.T) rawServer {
	t.Helper()
	srv := httptest.NewUnstartedServer(f.handler)
	srv.Config.MaxHeaderBytes = 16 << 10
	srv.Start()
	t.Cleanup(srv.Close)
	return rawServer{srv.Listener.Addr().String()}
}

func (w rawServer) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return conn
}

func (w rawServer) roundTrips(t *testing.T, text string) []response {
	t.Helper()
	conn, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(hostileTimeout)))
	go func() {
		_, _ = io.WriteString(conn, text)
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

func requestHead(line string) string {
	return line + "\r\nHost: x\r\nX-API-KEY: " + fullSecret + "\r\nContent-Type: application/json\r\n"
}

const postLine = "POST " + eventPath + " HTTP/1.1"

var unauthorizedPost = strings.Replace(requestHead(postLine), fullSecret, wrongSecret, 1)

func postText(body string) string {
	return requestHead(postLine) + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func readResponse(t *testing.T, in *bufio.Reader) response {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.NotEmpty(t, res.Header.Get("X-Request-Id"), "X-Request-Id of the handler")
	if res.Close {
		res.Header.Set("Connection", "close")
	}
	return response{status: res.StatusCode, header: res.Header, text: string(body)}
}

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

// pipeListener has no buffers and uses the clock of a synctest bubble.
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

func (p *pipeServer) dial(t *testing.T) net.Conn {
	t.Helper()
	go func() { _ = p.Serve(p.listener) }()
	client, server := net.Pipe()
	p.listener.conns <- server
	t.Cleanup(func() { _ = client.Close(); _ = p.Close() })
	return client
}

func (p *pipeServer) shutdown(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, p.Shutdown(ctx))
	return time.Since(start)
}

func writeAsync(conn net.Conn, text string) { go func() { _, _ = io.WriteString(conn, text) }() }

func readUntilClose(t *testing.T, in io.Reader) (rest string, after time.Duration) {
	t.Helper()
	start := time.Now()
	text, err := io.ReadAll(in)
	require.NoError(t, err)
	return string(text), time.Since(start)
}

func h2Frame(kind, flags byte, stream byte, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, 0, 0, 0, stream}) + payload
}

// The flow-control window of h2Get is 0, so the server cannot send a body.
func h2Get(path string, headers ...string) string {
	const window, end = "\x00\x04\x00\x00\x00\x00", 1
	return h2Connection(window, end, "\x82", path, headers)
}

func h2Post(path string, headers ...string) string { return h2Connection("", 0, "\x83", path, headers) }

func h2Connection(settings string, flags byte, method, path string, headers []string) string {
	const settingsFrame, headersFrame, endHeaders = 4, 1, 4
	block := method + "\x86\x04" + string(rune(len(path))) + path + "\x01\x01x"
	for i := 0; i < len(headers); i += 2 {
		block += "\x00" + string(rune(len(headers[i]))) + headers[i] + string(rune(len(headers[i+1]))) + headers[i+1]
	}
	return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		h2Frame(settingsFrame, 0, 0, settings) + h2Frame(headersFrame, flags|endHeaders, 1, block)
}
