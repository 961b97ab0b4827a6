package main

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	outputTimeout   = 250 * time.Millisecond
	maxQueuedOutput = 256 << 10 // bytes
)

var errOutputStuck = errors.New("the output is stuck")

// output drops and counts lines if its writer fails or gets stuck. Otherwise Write returns
// after the line is written.
type output struct {
	w io.Writer

	// lostLines, if set, returns a line to write once the output works again.
	lostLines func(n int) []byte

	mu       sync.Mutex
	queue    *outputChunk // nil if empty
	flushing bool
	stuck    bool // a write takes longer than outputTimeout
	lost     int  // since the last report
	partial  bool // the last line was partly written
}

type outputChunk struct {
	text []byte
	done chan struct{}
	err  error // valid once done is closed
}

func newOutput(w io.Writer) *output { return &output{w: w} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	if o.queue == nil {
		o.queue = &outputChunk{done: make(chan struct{})}
	}
	c := o.queue
	if len(c.text) > 0 && len(c.text)+len(p) > maxQueuedOutput {
		o.lost += countLines(p)
		o.mu.Unlock()
		return 0, errOutputStuck
	}
	c.text = append(c.text, p...)
	if !o.flushing {
		o.flushing = true
		go o.flush()
	}
	stuck := o.stuck
	o.mu.Unlock()
	if stuck {
		return len(p), nil
	}
	timer := time.NewTimer(outputTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
		if c.err != nil {
			return 0, c.err
		}
		return len(p), nil
	case <-timer.C:
		o.mu.Lock()
		defer o.mu.Unlock()
		o.stuck = o.flushing
		return 0, errOutputStuck
	}
}

func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.queue != nil {
		c := o.queue
		o.queue = nil
		var head []byte
		if o.partial {
			head = []byte("\n")
		}
		reported := o.lost
		if reported > 0 && o.lostLines != nil {
			head = append(head, o.lostLines(reported)...)
		}
		text := append(head, c.text...) //nolint:gocritic // only the length of head is used below
		o.mu.Unlock()
		n, err := o.w.Write(text)
		o.mu.Lock()
		if n >= len(head) {
			o.lost -= reported // not all: more may be lost meanwhile
		}
		if err != nil {
			o.lost += countLines(text[max(n, len(head)):])
			c.err = err
		}
		if n > 0 {
			o.partial = text[n-1] != '\n'
		}
		close(c.done)
	}
	o.flushing, o.stuck = false, false
}

func countLines(text []byte) int { return bytes.Count(text, []byte("\n")) }
