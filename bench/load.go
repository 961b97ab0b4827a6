package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/valyala/fasthttp"
)

// What a load sends.
const (
	sendEvents  = "events"
	sendBatches = "batches"
	sendLists   = "lists"
)

// loadSpec is what a load child is to do.
type loadSpec struct {
	Address     string `json:"address"`
	Send        string `json:"send"`
	Batch       int    `json:"batch"` // events in a batch
	Connections int    `json:"connections"`

	// Dripping is how many connections send a byte of their header each
	// second, beside the others.
	Dripping int `json:"dripping"`

	// It ends Time after WarmUp, in which nothing counts but what was
	// acknowledged; or, where Requests is set, with that many.
	WarmUp   time.Duration `json:"warm_up"`
	Time     time.Duration `json:"time"`
	Requests int64         `json:"requests"`

	// Rate is how many requests are due each second, whatever the server
	// does; 0 sends when the answer before is there.
	Rate float64 `json:"rate"`

	Seed    uint64 `json:"seed"`    // of the bodies
	Stream  uint64 `json:"stream"`  // of the references, one for each load
	Version int    `json:"version"` // of the references

	// Events is how many the server holds that were sent as batches; lists
	// ask for the customers of these.
	Events int64 `json:"events"`
}

// outcome is what a load, or the raw loop, has done.
type outcome struct {
	// Acknowledged is all that was, in the warm-up and after the end too.
	Acknowledged tally `json:"acknowledged"`

	// Rate is events, or lists, in a second of the time that counts.
	Rate float64 `json:"rate"`

	// Latency is that of a request, or of a transaction of the raw loop.
	Latency latencies `json:"latency"`
}

// latencies are percentiles, in nanoseconds.
type latencies struct {
	P50  time.Duration `json:"p50"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
}

// newHistogram takes nanoseconds from a microsecond to a minute, at three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(time.Minute), 3)
}

func percentiles(h *hdrhistogram.Histogram) latencies {
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtQuantile(percentile)) }
	return latencies{P50: at(50), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max())}
}

// load sends requests over some connections. It works in one thread, and shares
// what it can between the connections, to leave the machine to the server.
type load struct {
	loadSpec
	pool  *pool
	lanes []*lane
	drips []net.Conn

	// While it runs:

	begin time.Time // of all
	count time.Time // when it begins to count
	end   time.Time // no request is sent from then on; zero where Requests ends it

	mu      sync.Mutex
	sent    int64 // requests that were given out
	latency *hdrhistogram.Histogram
	counted int64 // events, or lists
	last    time.Time
}

// lane is one connection. It sends a request when the last one is answered.
type lane struct {
	load       *load
	conn       net.Conn
	in         *bufio.Reader
	out        []byte
	references *references
	answer     fasthttp.Response

	acknowledged tally
	pending      tally // acknowledged when the answer says so
}

// loadChild is the role of a load.
func loadChild(ctx context.Context, up *parent, spec loadSpec) error {
	l, err := newLoad(ctx, spec)
	if err != nil {
		return err
	}
	defer l.close()
	defer context.AfterFunc(ctx, l.close)()
	if err := up.out.Encode(true); err != nil {
		return err
	}
	if err := up.wait(ctx); err != nil {
		return err
	}
	done, err := l.run()
	if err != nil {
		return err
	}
	return up.out.Encode(done)
}

// newLoad prepares all requests and connections.
func newLoad(ctx context.Context, spec loadSpec) (*load, error) {
	l := &load{loadSpec: spec, latency: newHistogram()}
	switch spec.Send {
	case sendEvents:
		l.pool = newEventPool(spec.Seed)
	case sendBatches:
		l.pool = newBatchPool(spec.Seed, spec.Batch)
	case sendLists:
		l.pool = newListPool(spec.Seed, spec.Batch, spec.Events)
	}
	if l.pool == nil || len(l.pool.templates) == 0 {
		return nil, fmt.Errorf("there is nothing to send: %s", spec.Send)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	for i := range spec.Connections {
		conn, err := dialer.DialContext(ctx, "tcp", spec.Address)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		l.lanes = append(l.lanes, &lane{
			load: l, conn: conn, in: bufio.NewReaderSize(conn, 16<<10),
			references: newReferences(spec.Seed, spec.Stream<<16|uint64(i), spec.Version),
		})
	}
	for range spec.Dripping {
		conn, err := dialer.DialContext(ctx, "tcp", spec.Address)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		l.drips = append(l.drips, conn)
	}
	return l, nil
}

// drip sends a byte to each of the slow connections, over and over, until one of
// them is closed, which the server does after a time.
func (l *load) drip() {
	text := "POST /v1/ingest/charge-data HTTP/1.1\r\nX-A: "
	for i := 0; ; i++ {
		for _, conn := range l.drips {
			if _, err := conn.Write([]byte{text[min(i, len(text)-1)]}); err != nil {
				return
			}
			time.Sleep(time.Second / time.Duration(len(l.drips)))
		}
	}
}

func (l *load) close() {
	for _, conn := range l.drips {
		_ = conn.Close() // nothing is under way
	}
	for _, lane := range l.lanes {
		_ = lane.conn.Close() // nothing is under way
	}
}

// run sends until the end. Its error is the first one of any connection.
func (l *load) run() (outcome, error) {
	l.begin = time.Now()
	l.count = l.begin.Add(l.WarmUp)
	if l.Requests == 0 {
		l.end = l.count.Add(l.Time)
	}
	if len(l.drips) > 0 {
		go l.drip()
	}
	failures := make(chan error, len(l.lanes))
	for _, lane := range l.lanes {
		go func() { failures <- lane.run() }()
	}
	var failure error
	for range l.lanes {
		if err := <-failures; err != nil && failure == nil {
			failure = err
			l.close() // the others end, too
		}
	}
	if failure != nil {
		return outcome{}, failure
	}
	done := outcome{Latency: percentiles(l.latency)}
	for _, lane := range l.lanes {
		done.Acknowledged.merge(lane.acknowledged)
	}
	took := l.last.Sub(l.count)
	if l.Requests == 0 {
		took = l.Time
	}
	done.Rate = float64(l.counted) / took.Seconds()
	return done, nil
}

func (l *lane) run() error {
	for {
		due, ok := l.load.take()
		if !ok {
			return nil
		}
		events, err := l.exchange(&due)
		if err != nil {
			return err
		}
		if err := l.load.record(due, time.Now(), events); err != nil {
			return err
		}
	}
}

// take returns when the next request is due, zero for at once; false where none
// is any more. The next one goes to whichever connection is free.
func (l *load) take() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Requests > 0 && l.sent >= l.Requests {
		return time.Time{}, false
	}
	now := time.Now()
	var due time.Time
	if l.Rate > 0 {
		due = l.begin.Add(time.Duration(float64(l.sent) / l.Rate * float64(time.Second)))
		now = due
	}
	if !l.end.IsZero() && !now.Before(l.end) {
		return time.Time{}, false
	}
	l.sent++
	return due, true
}

// exchange sends a request when it is due, and returns how many events, or
// lists, were answered. It sets due where the request was due at once.
//
// Timers of a process that has nothing else to do are up to a millisecond late.
// That counts as latency like everything else after due.
func (l *lane) exchange(due *time.Time) (int, error) {
	next := l.load.pool.next()
	l.out = append(l.out[:0], next.bytes...)
	l.pending = tally{}
	for _, at := range next.references {
		made, err := l.references.fill(l.out[at:])
		if err != nil {
			return 0, err
		}
		l.pending.add(made)
	}
	if due.IsZero() {
		*due = time.Now()
	} else {
		time.Sleep(time.Until(*due))
	}
	if _, err := l.conn.Write(l.out); err != nil {
		return 0, err
	}
	if err := l.answer.Read(l.in); err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	if err := l.check(len(next.references) > 0); err != nil {
		return 0, err
	}
	l.acknowledged.merge(l.pending)
	return max(1, len(next.references)), nil
}

// check makes anything but the one right answer an error.
func (l *lane) check(stores bool) error {
	switch status, body := l.answer.StatusCode(), l.answer.Body(); {
	case stores && status != http.StatusCreated, !stores && status != http.StatusOK:
		return fmt.Errorf("answered %d: %s", status, body)
	case !stores && bytes.Contains(body, []byte(`"data":[]`)):
		return errors.New("a list of a customer that has events is empty")
	}
	return nil
}

// record takes a request in that was due and is answered now.
func (l *load) record(due, now time.Time, events int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = now
	if now.Before(l.count) || !l.end.IsZero() && now.After(l.end) {
		return nil
	}
	l.counted += int64(events)
	return l.latency.RecordValue(int64(now.Sub(due)))
}
