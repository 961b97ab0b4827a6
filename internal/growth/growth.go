// Package growth measures that the cost of adversarial requests grows linearly.
package growth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// Case is an adversarial request of variable size.
type Case struct {
	Name string

	// Size is the bytes of the smaller run.
	Size int

	attack func(n int) attack
}

// Factor is the ratio of the sizes.
const Factor = 4

type attack struct {
	configure []func(*chargeingest.Config)
	setup     []call
	calls     []call

	work func() // replaces the calls in [SelfTests]
}

type call struct {
	method, target string
	header         http.Header
	body           []byte
	chunked        bool // without Content-Length

	ingest *chargeingest.IngestRequest

	status int
}

// Expected statuses that the contract leaves open.
const (
	anyErrorStatus = -1 // 4xx or 5xx
	anyStatus      = -2
)

func (c *call) accepts(status int) bool {
	return status == c.status || c.status == anyStatus || c.status == anyErrorStatus && status >= http.StatusBadRequest
}

// Sample is the cost of one run, in bytes.
type Sample struct {
	Bytes     int // sent
	Allocated uint64
	Steps     uint64 // function calls, loop iterations and bytes moved or searched, if counted
	Response  int    // of the largest error
	LogLine   int    // of the longest line
}

// Result is the output of the driver.
type Result struct {
	Sample
	Err string
}

// Run is a case with its handler.
type Run struct {
	handler *chargeingest.Handler
	attack  attack
	log     *lineMeter
}

// Prepare also sends the setup.
func (c Case) Prepare(n int) (*Run, error) {
	r := &Run{attack: c.attack(n), log: new(lineMeter)}
	cfg := chargeingest.Config{
		Store:      memstore.New(),
		Authorizer: Anyone,
		Logger:     slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Now:        func() time.Time { return time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC) },
	}
	for _, configure := range r.attack.configure {
		configure(&cfg)
	}
	var err error
	if r.handler, err = chargeingest.New(cfg); err != nil {
		return nil, err
	}
	for i := range r.attack.setup {
		if _, err := r.send(&r.attack.setup[i]); err != nil {
			return nil, fmt.Errorf("setup: %w", err)
		}
	}
	return r, nil
}

// Anyone authorizes every request.
var Anyone = chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
	return chargeingest.Principal{Subject: "growth", Platforms: []string{chargeingest.DefaultPlatform}}, nil
})

// Send sends the measured calls and checks the statuses.
func (r *Run) Send() (Sample, error) {
	var s Sample
	if r.attack.work != nil {
		r.attack.work()
	}
	for i := range r.attack.calls {
		c := &r.attack.calls[i]
		written, err := r.send(c)
		if err != nil {
			return s, err
		}
		s.Bytes += c.size()
		s.Response = max(s.Response, written)
	}
	s.LogLine = r.log.longest
	return s, nil
}

// Measure calls Send.
func (r *Run) Measure(steps func() uint64) (Sample, error) {
	runtime.GC()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stepsBefore := steps()
	s, err := r.Send()
	s.Steps = steps() - stepsBefore
	runtime.ReadMemStats(&after)
	s.Allocated = after.TotalAlloc - before.TotalAlloc
	return s, err
}

func (r *Run) send(c *call) (written int, err error) {
	if c.ingest != nil {
		return 0, c.checkIngest(r.handler.Ingest(context.Background(), *c.ingest))
	}
	u, err := url.ParseRequestURI(c.target)
	if err != nil {
		return 0, err
	}
	req := &http.Request{
		Method: c.method, URL: u, RequestURI: c.target, Host: "x",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header, ContentLength: int64(len(c.body)), Body: io.NopCloser(bytes.NewReader(c.body)),
	}
	if c.chunked {
		req.ContentLength = -1
	}
	w := &responseMeter{header: make(http.Header), start: make([]byte, 0, 512)}
	r.handler.ServeHTTP(w, req)
	if !c.accepts(w.status) {
		return 0, fmt.Errorf("%s %.60s: status %d, want %d: %s", c.method, c.target, w.status, c.status, w.start)
	}
	if w.status < http.StatusBadRequest {
		return 0, nil
	}
	return w.written, nil
}

func (c *call) checkIngest(_ chargeingest.IngestResult, err error) error {
	status := http.StatusCreated
	var e *chargeingest.Error
	if errors.As(err, &e) {
		status = e.Status
	}
	if !c.accepts(status) {
		return fmt.Errorf("ingest: status %d, want %d: %w", status, c.status, err)
	}
	return nil
}

func (c *call) size() int {
	n := len(c.target) + len(c.body)
	for name, values := range c.header {
		for _, value := range values {
			n += len(name) + len(value)
		}
	}
	if c.ingest != nil {
		for i := range c.ingest.Events {
			text, _ := c.ingest.Events[i].MarshalJSON()
			n += len(text)
		}
	}
	return n
}

type responseMeter struct {
	header  http.Header
	start   []byte
	status  int
	written int
}

func (w *responseMeter) Header() http.Header    { return w.header }
func (w *responseMeter) WriteHeader(status int) { w.status = status }

func (w *responseMeter) Write(p []byte) (int, error) {
	w.written += len(p)
	w.start = append(w.start, p[:min(len(p), cap(w.start)-len(w.start))]...)
	return len(p), nil
}

type lineMeter struct{ longest int }

func (m *lineMeter) Write(p []byte) (int, error) {
	m.longest = max(m.longest, len(p))
	return len(p), nil
}
