package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

type faultProxy struct {
	*httptest.Server

	client *http.Client
	late   sync.WaitGroup

	mu          sync.Mutex
	random      *rand.Rand
	responses   bool   // the proxy responds itself, too
	destination string // empty while it is down
	off         bool
	storm       storm
	moment      *moment
	counts      map[string]int
}

type storm struct {
	left       int
	status     int
	retryAfter string
	about      [][]byte // if set, only requests with one of these texts fail
}

type moment struct {
	stage   string
	left    int
	reached chan struct{}
	passed  chan struct{}
}

const (
	stageRequest  = "request"  // nothing was sent to the destination
	stageStored   = "stored"   // the source has no response
	stageResponse = "response" // the source may not have saved it
)

func newFaultProxy(seed uint64) *faultProxy {
	p := &faultProxy{
		client: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}},
		random: rand.New(rand.NewPCG(seed, 2)), counts: make(map[string]int),
	}
	p.responses = p.random.IntN(4) > 0
	p.Server = httptest.NewServer(p)
	return p
}

func (p *faultProxy) setDestination(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.destination = url
}

func (p *faultProxy) end() {
	p.mu.Lock()
	p.off, p.storm = true, storm{}
	p.mu.Unlock()
	p.late.Wait()
}

func (p *faultProxy) close() {
	p.Close()
	p.client.CloseIdleConnections()
}

func (p *faultProxy) arm(stage string, requests int) *moment {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moment = &moment{stage, requests, make(chan struct{}), make(chan struct{})}
	return p.moment
}

func (p *faultProxy) disarm(m *moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moment = nil
	close(m.passed)
}

func (p *faultProxy) pass(stage string) {
	p.mu.Lock()
	m := p.moment
	if m == nil || m.stage != stage {
		p.mu.Unlock()
		return
	}
	m.left--
	reached := m.left == 0
	p.mu.Unlock()
	if reached {
		close(m.reached)
		<-m.passed
	}
}

type fault struct {
	name       string
	status     int
	retryAfter string
	delay      time.Duration
}

func (p *faultProxy) next(body []byte) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.draw(body)
	p.counts[f.name]++
	return f
}

func (p *faultProxy) draw(body []byte) fault {
	if p.off {
		return fault{name: "none"}
	}
	if p.storm.left == 0 && p.responses && p.random.IntN(12) == 0 {
		p.storm = p.newStorm()
	}
	if p.storm.left > 0 {
		p.storm.left--
		if p.storm.hits(body) {
			return fault{name: fmt.Sprint("storm ", p.storm.status), status: p.storm.status, retryAfter: p.storm.retryAfter}
		}
	}
	f := fault{name: "none", delay: time.Duration(p.random.IntN(8)) * time.Millisecond}
	switch n := p.random.IntN(100); {
	case n < 50:
	case n < 55:
		f.name = "reset before"
	case n < 60:
		f.name = "half a request"
	case n < 70:
		f.name = "lost response"
	case n < 75:
		f.name = "half a response"
	case n < 80:
		f.name = "delayed request"
	case n < 85:
		f.name = "sent twice"
	case n < 86:
		f.name = "no response"
	case n < 91 && p.responses:
		f.name, f.status = "lost in a gateway", http.StatusBadGateway
	default:
		f.name = "delayed response"
	}
	return f
}

func (p *faultProxy) newStorm() storm {
	statuses := []int{
		http.StatusServiceUnavailable, http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusUnauthorized,
	}
	s := storm{left: 1 + p.random.IntN(15), status: statuses[p.random.IntN(len(statuses))]}
	if s.status == http.StatusServiceUnavailable || s.status == http.StatusTooManyRequests {
		switch p.random.IntN(10) {
		case 0:
			s.retryAfter, s.left = "1", 1
		case 1, 2, 3:
			s.retryAfter = "0"
		}
		if p.random.IntN(3) > 0 {
			s.left = 50 + p.random.IntN(200)
			for range 3 {
				s.about = append(s.about, fmt.Appendf(nil, `"customer %d"`, p.random.IntN(50)))
			}
		}
	}
	return s
}

func (s storm) hits(body []byte) bool {
	for _, text := range s.about {
		if bytes.Contains(body, text) {
			return true
		}
	}
	return len(s.about) == 0
}

func (p *faultProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.pass(stageRequest)
	f := p.next(body)
	switch {
	case f.name == "reset before":
		reset(w)
		return
	case f.name == "half a request":
		p.forwardHalf(r, body)
		reset(w)
		return
	case f.name == "delayed request":
		p.late.Go(func() {
			time.Sleep(f.delay * 4)
			_, _ = p.forward(r, body)
		})
		reset(w)
		return
	case f.name == "sent twice":
		_, _ = p.forward(r, body)
	case f.status != 0 && f.name != "lost in a gateway":
		respond(w, response{status: f.status, header: http.Header{"Retry-After": {f.retryAfter}}, body: []byte("<html>no</html>")})
		return
	}
	stored, err := p.forward(r, body)
	p.pass(stageStored)
	switch {
	case err != nil || f.name == "lost response":
		reset(w)
		return
	case f.name == "no response":
		<-r.Context().Done()
		return
	case f.name == "delayed response":
		time.Sleep(f.delay)
	case f.name == "half a response":
		respondHalf(w, stored)
		return
	case f.name == "lost in a gateway":
		stored = response{status: f.status, body: []byte("<html>no</html>")}
	}
	respond(w, stored)
	p.pass(stageResponse)
}

type response struct {
	status int
	header http.Header
	body   []byte
}

var errNoDestination = errors.New("the destination is down")

func (p *faultProxy) newRequest(r *http.Request, body io.Reader) (*http.Request, error) {
	p.mu.Lock()
	url := p.destination
	p.mu.Unlock()
	if url == "" {
		return nil, errNoDestination
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, url+r.URL.Path, body)
	if err == nil {
		req.Header = maps.Clone(r.Header)
	}
	return req, err
}

func (p *faultProxy) forward(r *http.Request, body []byte) (response, error) {
	req, err := p.newRequest(r, bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.GetBody = nil
	res, err := p.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, text}, err
}

func (p *faultProxy) forwardHalf(r *http.Request, body []byte) {
	half := io.MultiReader(bytes.NewReader(body[:len(body)/2]), failingReader{})
	req, err := p.newRequest(r, half)
	if err != nil {
		return
	}
	req.ContentLength = int64(len(body))
	if res, err := p.client.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("half a request") }

func respond(w http.ResponseWriter, r response) {
	for name, values := range r.header {
		if values[0] != "" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body)
	_ = http.NewResponseController(w).Flush()
}

func respondHalf(w http.ResponseWriter, r response) {
	conn := hijack(w)
	if conn == nil {
		return
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		r.status, len(r.body), r.body[:len(r.body)/2])
	_ = conn.Close()
}

func reset(w http.ResponseWriter) {
	conn := hijack(w)
	if conn == nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil
	}
	return conn
}
