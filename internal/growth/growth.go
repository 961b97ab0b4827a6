// Package growth generates adversarial requests of any size and measures how
// their cost grows. Its test checks the contract: the cost of a request, accepted,
// refused or in conflict, is at most linear in its size.
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

// Case is an attack that can be made in any size.
type Case struct {
	// Name is unique: the attack and its outcome.
	Name string

	// Size of the smaller of the two runs that are compared, in bytes. The
	// larger one has [Factor] times as many.
	Size int

	attack func(n int) attack
}

// Factor is how much larger the larger run is.
const Factor = 4

// attack is a case in one size: the calls that are measured, the calls before
// them, and the configuration.
type attack struct {
	configure []func(*chargeingest.Config)
	before    []call
	calls     []call

	// work replaces the calls in tests of the harness itself.
	work func()
}

// call is a request over HTTP, or events for [chargeingest.Handler.Ingest].
type call struct {
	method, target string
	header         http.Header
	body           []byte
	chunked        bool // of a length that is not declared

	direct *chargeingest.IngestRequest

	status int // expected, or one of the constants below
}

// Expectations for responses whose status the contract leaves open.
const (
	anyError  = -1 // 4xx or 5xx
	anyStatus = -2
)

func (c *call) accepts(status int) bool {
	return status == c.status || c.status == anyStatus || c.status == anyError && status >= http.StatusBadRequest
}

// Sample is the cost of one run.
type Sample struct {
	Bytes     int    // sent
	Allocated uint64 // bytes
	Steps     uint64 // function calls, rounds of loops and bytes moved or searched; 0 unless counted
	Response  int    // the largest response that is an error, in bytes
	LogLine   int    // the longest, in bytes
}

// Result is a sample as printed by the driver.
type Result struct {
	Sample
	Err string // why there is no sample, or empty
}

// Run is a case that is ready to be measured.
type Run struct {
	handler *chargeingest.Handler
	attack  attack
	log     *lineMeter
}

// Prepare makes a server for the case and sends the calls that are not measured.
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
	for i := range r.attack.before {
		if _, err := r.send(&r.attack.before[i]); err != nil {
			return nil, fmt.Errorf("before: %w", err)
		}
	}
	return r, nil
}

// Anyone is an authorizer that lets everyone in.
var Anyone = chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
	return chargeingest.Principal{Subject: "growth", Platforms: []string{chargeingest.DefaultPlatform}}, nil
})

// Send sends the calls that are measured. It fails if a response has another
// status than expected.
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

// Measure sends the calls and measures the cost. steps reads the step counter.
func (r *Run) Measure(steps func() uint64) (Sample, error) {
	// Two collections empty the pools, so runs do not depend on earlier ones.
	runtime.GC()
	runtime.GC()
	// Without collections during the run, the run itself keeps its pools.
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

// send returns the size of a response that is an error.
func (r *Run) send(c *call) (written int, err error) {
	if c.direct != nil {
		return 0, c.checkDirect(r.handler.Ingest(context.Background(), *c.direct))
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
		return 0, fmt.Errorf("%s %.60s got %d, not %d: %s", c.method, c.target, w.status, c.status, w.start)
	}
	if w.status < http.StatusBadRequest {
		return 0, nil
	}
	return w.written, nil
}

func (c *call) checkDirect(_ chargeingest.IngestResult, err error) error {
	status := http.StatusCreated
	var e *chargeingest.Error
	if errors.As(err, &e) {
		status = e.Status
	}
	if !c.accepts(status) {
		return fmt.Errorf("ingest got %d, not %d: %w", status, c.status, err)
	}
	return nil
}

// size is about how many bytes a client sends.
func (c *call) size() int {
	n := len(c.target) + len(c.body)
	for name, values := range c.header {
		for _, value := range values {
			n += len(name) + len(value)
		}
	}
	if c.direct != nil {
		for i := range c.direct.Events {
			text, _ := c.direct.Events[i].MarshalJSON() // they are well-formed
			n += len(text)
		}
	}
	return n
}

// responseMeter keeps only the start of a response.
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

// lineMeter records the longest line of a log. Package slog writes line by line.
type lineMeter struct{ longest int }

func (m *lineMeter) Write(p []byte) (int, error) {
	m.longest = max(m.longest, len(p))
	return len(p), nil
}
