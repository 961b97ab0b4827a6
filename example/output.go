package main

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// outputPatience is how long a writer waits for an output.
	outputPatience = 250 * time.Millisecond

	// maxQueuedOutput bounds the bytes that are queued for a stuck output.
	maxQueuedOutput = 256 << 10
)

var errOutputStuck = errors.New("nothing reads it")

// output writes lines to a file, pipe or terminal that may fail or get stuck. A
// process that logs to it goes on: what cannot be written is dropped and counted.
// As long as it works, each Write returns after its line was written.
type output struct {
	w io.Writer

	// lostLine, if set, returns a line about n lines that were lost. It is
	// written once the output works again.
	lostLine func(n int) []byte

	mu      sync.Mutex
	queue   *outputChunk // nil if empty
	writing bool         // flush is running
	stuck   bool         // a write has taken longer than outputPatience
	lost    int          // lines, since the last lostLine
	torn    bool         // the last line was written in part
}

// outputChunk is some lines that are written at once.
type outputChunk struct {
	text []byte
	done chan struct{} // closed when it was written, or failed
	err  error         // then
}

func newOutput(w io.Writer) *output { return &output{w: w} }

// Write implements [io.Writer] for whole lines.
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
	if !o.writing {
		o.writing = true
		go o.flush()
	}
	stuck := o.stuck
	o.mu.Unlock()
	if stuck {
		return len(p), nil
	}
	timer := time.NewTimer(outputPatience)
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
		o.stuck = o.writing
		return 0, errOutputStuck
	}
}

// flush writes what is queued. It runs while something is.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.queue != nil {
		c := o.queue
		o.queue = nil
		var head []byte
		if o.torn {
			head = []byte("\n")
		}
		reported := o.lost
		if reported > 0 && o.lostLine != nil {
			head = append(head, o.lostLine(reported)...)
		}
		text := append(head, c.text...) //nolint:gocritic // head is not used below, but for its length
		o.mu.Unlock()
		n, err := o.w.Write(text)
		o.mu.Lock()
		if n >= len(head) {
			o.lost -= reported // others may have been lost meanwhile
		}
		if err != nil {
			o.lost += countLines(text[max(n, len(head)):])
			c.err = err
		}
		if n > 0 {
			o.torn = text[n-1] != '\n'
		}
		close(c.done)
	}
	o.writing, o.stuck = false, false
}

func countLines(text []byte) int { return bytes.Count(text, []byte("\n")) }
