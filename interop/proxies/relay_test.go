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

type relay struct {
	address string
	server  string

	mu          sync.Mutex
	connections int
	requests    []*http.Request
	lose        bool            // the next response
	hold        <-chan struct{} // if set, responses wait until it is closed
}

func startRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startRelayOn(t, l, server)
}

func startRelayOn(t *testing.T, l net.Listener, server string) *relay {
	t.Helper()
	r := &relay{address: l.Addr().String(), server: server}
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	t.Cleanup(func() { l.Close() })
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.connections++
			r.mu.Unlock()
			conns.Go(func() { r.serve(conn) })
		}
	})
	return r
}

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
		check := req.Method != http.MethodPost // health check of haproxy
		r.mu.Lock()
		if !check {
			r.requests = append(r.requests, req)
		}
		r.mu.Unlock()
		written := make(chan struct{})
		go func() {
			defer close(written)
			_ = req.Write(server) // incomplete if the server rejects the body
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
			// Otherwise the proxy can miss the response.
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, in)
			return
		}
	}
}

func (r *relay) loseNext() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = true
}

func (r *relay) seen() (connections int, requests []*http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections, r.requests
}
