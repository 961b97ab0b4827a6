//go:build proxies && linux

package proxies_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// relay stands between a proxy and a server. It counts connections, records POSTs
// and can lose their responses.
type relay struct {
	address string
	server  string

	mu          sync.Mutex
	connections int
	requests    []*http.Request
	lose        bool            // the next response is lost: the connection ends in its place
	hold        <-chan struct{} // unless it is nil, responses wait until it is closed
}

func startRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{address: l.Addr().String(), server: server}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { l.Close() })
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the listener was closed
			}
			r.mu.Lock()
			r.connections++
			r.mu.Unlock()
			conns.Go(func() { r.serve(conn) })
		}
	})
	return r
}

// serve passes on requests until either side ends the connection.
func (r *relay) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", r.server)
	if err != nil {
		return
	}
	defer server.Close()
	in, out := bufio.NewReader(conn), bufio.NewReader(server)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		check := req.Method != http.MethodPost // of haproxy
		r.mu.Lock()
		if !check {
			r.requests = append(r.requests, req)
		}
		r.mu.Unlock()
		written := make(chan struct{})
		go func() {
			defer close(written)
			_ = req.Write(server) // of a body that the server refuses, not all
		}()
		res, err := http.ReadResponse(out, req)
		if err != nil {
			return
		}
		r.mu.Lock()
		lost, hold := !check && r.lose, r.hold
		if lost {
			r.lose = false
		}
		r.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if lost {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			return
		}
		err = res.Write(conn)
		_ = res.Body.Close()
		<-written
		if err != nil || res.Close || req.Close {
			// As the server does, so that the proxy gets the response.
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, in)
			return
		}
	}
}

// loseOne loses the next response.
func (r *relay) loseOne() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = true
}

// seen returns how many connections there were, and the requests.
func (r *relay) seen() (connections int, requests []*http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections, r.requests
}
