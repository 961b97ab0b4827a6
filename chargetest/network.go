package chargetest

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
)

// URL starts a listener on loopback and returns its URL, without a trailing slash. It fails
// in a synctest bubble: use [Server.Client].
func (s *Server) URL() string {
	s.t.Helper()
	if s.inBubble {
		s.errorf("URL called in a synctest bubble: waiting for a socket would stop its time; use Client")
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url == "" && !s.isClosed {
		if s.wrongBubble(s.t) {
			return ""
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			s.errorf("listen on loopback: %v", err)
			return ""
		}
		s.url = urlOf(l)
		s.network.start(l, s.Handler())
	}
	return s.url
}

// Client returns a client that reaches the server in memory, for any http or https URL. A cut
// connection is an unexpected EOF.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.dial, DialTLSContext: s.dial}}
}

func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := s.checkBubble(); err != nil {
		s.errorf("Client: %v", err) // the client may hide the error
		return nil, err
	}
	s.mu.Lock()
	if s.pipe == nil {
		s.pipe = &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		if s.isClosed {
			_ = s.pipe.Close()
		} else {
			s.network.start(s.pipe, s.Handler())
		}
	}
	pipe := s.pipe
	s.mu.Unlock()
	return pipe.dial(ctx)
}

// ServeOn serves h, or [Server.Handler] if that is nil, on l until the server is closed. If
// the server has no URL yet, l determines it.
func (s *Server) ServeOn(l net.Listener, h http.Handler) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed || s.inBubble {
		return errors.New("chargetest: ServeOn: the server is closed or in a synctest bubble")
	}
	if h == nil {
		h = s.Handler()
	}
	if s.url == "" {
		s.url = urlOf(l)
	}
	s.network.start(l, h)
	return nil
}

func urlOf(l net.Listener) string {
	addr, ok := l.Addr().(*net.TCPAddr)
	if ok && addr.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", addr.Port)
	}
	return "http://" + l.Addr().String()
}

type network struct {
	handler  http.Handler
	errorLog *log.Logger

	mu      sync.Mutex
	servers []*http.Server
	serving sync.WaitGroup

	conns    map[*conn]struct{}
	inFlight *sync.WaitGroup
}

func newNetwork(handler http.Handler, errorLog *log.Logger) *network {
	return &network{handler: handler, errorLog: errorLog, conns: make(map[*conn]struct{}), inFlight: new(sync.WaitGroup)}
}

func (n *network) start(l net.Listener, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	srv := &http.Server{ //nolint:gosec // no timeouts: a client in a debugger is slow
		Handler: h, ErrorLog: n.errorLog,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	n.servers = append(n.servers, srv)
	n.serving.Go(func() { _ = srv.Serve(trackingListener{l, n}) })
}

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

func (n *network) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connOf(r.Context()) != nil {
			defer n.begin().Done()
		}
		h.ServeHTTP(w, r)
	})
}

func (n *network) begin() *sync.WaitGroup {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inFlight.Add(1)
	return n.inFlight
}

func (n *network) cut(except *conn) {
	n.mu.Lock()
	conns, inFlight := n.conns, n.inFlight
	n.conns, n.inFlight = make(map[*conn]struct{}), new(sync.WaitGroup)
	if _, open := conns[except]; open {
		delete(conns, except)
		n.conns[except] = struct{}{}
	}
	n.mu.Unlock()
	for c := range conns {
		c.reset()
	}
	inFlight.Wait()
}

func (n *network) close() {
	n.mu.Lock()
	servers := n.servers
	n.mu.Unlock()
	for _, srv := range servers {
		_ = srv.Close()
	}
	n.serving.Wait()
	n.cut(nil)
}

type trackingListener struct {
	net.Listener
	network *network
}

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

type conn struct {
	net.Conn
	network *network
}

func (c *conn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

func (c *conn) CloseWrite() error {
	if l, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return l.CloseWrite()
	}
	return nil
}

func (c *conn) reset() {
	if l, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	clientEnd, serverEnd := net.Pipe()
	select {
	case l.conns <- serverEnd:
		return clientEnd, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
