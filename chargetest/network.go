package chargetest

import (
	"context"
	"log"
	"net"
	"net/http"
	"sync"
)

// URL is the server's URL on loopback, without a trailing slash. The first call
// starts to listen. In a bubble of testing/synctest it fails the test, because
// waiting for a socket would stop the bubble's time: use [Server.Client] there.
func (s *Server) URL() string {
	s.t.Helper()
	if s.bubbled {
		s.errorf("URL in a bubble of testing/synctest: what waits for a socket would keep its time from moving; use Client")
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url == "" && !s.isClosed {
		if s.strayed(s.t) {
			return ""
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			s.errorf("listen on loopback: %v", err)
			return ""
		}
		s.url = "http://" + l.Addr().String()
		s.network.start(l)
	}
	return s.url
}

// Client is an HTTP client that reaches the server without a socket, whatever host
// the URL names, by http or https. A cut connection is an unexpected EOF to it; on a
// socket it is a reset. Each client has connections of its own until the server ends:
// one client is enough for a loop.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.dial, DialTLSContext: s.dial}}
}

// dial is for a transport; every address leads to the server. The first call
// starts to listen.
func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := s.checkBubble(); err != nil {
		s.errorf("Client: %v", err) // its caller may send the request again, and hide this
		return nil, err
	}
	s.mu.Lock()
	if s.pipe == nil {
		s.pipe = &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		if s.isClosed {
			_ = s.pipe.Close()
		} else {
			s.network.start(s.pipe)
		}
	}
	pipe := s.pipe
	s.mu.Unlock()
	return pipe.dial(ctx)
}

// network serves on listeners and can cut the connections of all of them. It is
// made by newNetwork.
type network struct {
	serve  http.Handler
	errors *log.Logger

	mu      sync.Mutex
	servers []*http.Server
	serving sync.WaitGroup

	// conns and inFlight are those since the last cut.
	conns    map[*conn]struct{}
	inFlight *sync.WaitGroup
}

func newNetwork(serve http.HandlerFunc, errors *log.Logger) *network {
	return &network{serve: serve, errors: errors, conns: make(map[*conn]struct{}), inFlight: new(sync.WaitGroup)}
}

// start serves on l until the network is closed.
func (n *network) start(l net.Listener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	srv := &http.Server{ //nolint:gosec // no time-outs: a client under a debugger is slow
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer n.enter().Done()
			n.serve.ServeHTTP(w, r)
		}),
		ErrorLog: n.errors,
	}
	n.servers = append(n.servers, srv)
	n.serving.Go(func() { _ = srv.Serve(trackingListener{l, n}) })
}

// enter counts a request that is in flight.
func (n *network) enter() *sync.WaitGroup {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inFlight.Add(1)
	return n.inFlight
}

// cut cuts every connection and waits until the requests that were in flight
// have ended.
func (n *network) cut() {
	n.mu.Lock()
	conns, inFlight := n.conns, n.inFlight
	n.conns, n.inFlight = make(map[*conn]struct{}), new(sync.WaitGroup)
	n.mu.Unlock()
	for c := range conns {
		c.reset()
	}
	inFlight.Wait()
}

// close stops listening, cuts every connection and waits until all has ended.
func (n *network) close() {
	n.mu.Lock()
	servers := n.servers
	n.mu.Unlock()
	for _, srv := range servers {
		_ = srv.Close()
	}
	n.serving.Wait()
	n.cut()
}

// trackingListener tells the network of its connections.
type trackingListener struct {
	net.Listener
	network *network
}

// Accept implements [net.Listener].
func (l trackingListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{accepted, l.network}
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	l.network.conns[c] = struct{}{}
	return c, nil
}

// conn is a connection of a network.
type conn struct {
	net.Conn
	network *network
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends what is sent, as net/http does before it closes a connection
// whose request it has not read to its end.
func (c *conn) CloseWrite() error {
	if l, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return l.CloseWrite()
	}
	return nil
}

// reset closes the connection so that its other end sees a reset, where it is
// one that can.
func (c *conn) reset() {
	if l, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// pipeListener is a listener in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements [net.Listener].
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
