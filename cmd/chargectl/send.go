package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

type loader struct {
	*program
	client   *chargeclient.Client
	name     string
	rejects  *rejectsFile // nil: stop at the first rejection
	progress *progress

	mu sync.Mutex // of the fields below
	counts
	retried    bool
	replays    []int        // lines without a reference
	rejections []*rejection // of the current chunk
}

type counts struct{ stored, replayed, rejected int }

func (c *counts) String() string {
	return fmt.Sprintf("%s: %d new, %d already stored, %d rejected",
		plural(c.stored+c.replayed+c.rejected, "event"), c.stored, c.replayed, c.rejected)
}

func (l *loader) run(ctx context.Context, chunks *chunkReader) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	results := chunks.readAhead(reading)
	for {
		var next chunkResult
		select {
		case next = <-results:
		case <-ctx.Done():
			return fmt.Errorf("interrupted while reading %s; run the same command again to send the rest", l.name)
		}
		if errors.Is(next.err, io.EOF) {
			return nil
		}
		if next.err != nil {
			return fmt.Errorf("%s: %w", l.name, next.err)
		}
		c := next.chunk
		if len(c.unreferenced) > 0 && chunks.keys.loadID == "" {
			n := c.unreferenced[0].number
			return fmt.Errorf("%s: the event has no reference, so -load-id must be given with standard input; lines from %d on were not sent",
				l.span(n, n), c.first)
		}
		err := l.send(ctx, c)
		if err := errors.Join(err, l.flushRejections()); err != nil {
			return err
		}
	}
}

var errRejected = errors.New("lines were rejected, see above")

func (l *loader) send(ctx context.Context, c *chunk) error {
	for _, line := range c.invalid {
		l.reject(invalidLine(line))
	}
	if l.rejects == nil && len(c.invalid) > 0 {
		return fmt.Errorf("%w; %s not sent", errRejected, l.span(c.first, c.last))
	}
	if len(c.referenced) > 0 {
		if err := l.sendBatch(ctx, c.referenced); err != nil {
			return err
		}
	}
	return l.sendEach(ctx, c.unreferenced)
}

// sendEach completes requests in flight after an error, so that the counts are correct.
func (l *loader) sendEach(ctx context.Context, events []event) error {
	var started atomic.Int64
	var stopped atomic.Bool
	errs := make([]error, len(events))
	var workers sync.WaitGroup
	for range min(maxConnections, len(events)) {
		workers.Go(func() {
			for !stopped.Load() {
				i := int(started.Add(1)) - 1
				if i >= len(events) {
					return
				}
				if errs[i] = l.sendBatch(ctx, events[i:i+1]); errs[i] != nil {
					stopped.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return cmp.Or(errs...)
}

// sendBatch sends the events without the rejected ones again in halves, because the server does
// not always list all rejections: at most two requests per event.
func (l *loader) sendBatch(ctx context.Context, events []event) error {
	r := chargeclient.Request{IdempotencyKey: events[0].idempotencyKey}
	for _, e := range events {
		r.Events = append(r.Events, json.RawMessage(e.text))
	}
	result, err := l.client.SendJSON(ctx, r)
	if err == nil {
		l.addStored(events, result.Replayed)
		return nil
	}
	rejected, ok := rejectedEvents(err, events)
	if !ok {
		return l.stopError(ctx, events, err)
	}
	var rest []event
	for i, e := range events {
		if r := rejected[i]; r != nil {
			l.reject(r)
		} else {
			rest = append(rest, e)
		}
	}
	if l.rejects == nil && len(rejected) > 0 {
		return errRejected
	}
	for _, half := range [][]event{rest[:len(rest)/2], rest[len(rest)/2:]} {
		if len(half) == 0 {
			continue
		}
		if err := l.sendBatch(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) addStored(events []event, replayed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replayed += replayed
	l.stored += len(events) - replayed
	if replayed > 0 && events[0].idempotencyKey != "" {
		l.replays = append(l.replays, events[0].number)
	}
	l.progress.add(len(events))
}

func (l *loader) reject(r *rejection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rejected++
	l.rejections = append(l.rejections, r)
	l.progress.add(1)
}

func (l *loader) flushRejections() error {
	rejections := l.rejections
	l.rejections = nil
	slices.SortFunc(rejections, func(a, b *rejection) int { return cmp.Compare(a.Line, b.Line) })
	if l.rejects != nil {
		return l.rejects.write(rejections)
	}
	for _, r := range rejections {
		for _, reason := range r.Errors {
			l.progress.print(fmt.Sprintf("%s:%d: %s", l.name, r.Line, reason.Message))
		}
	}
	return nil
}

func (l *loader) stopError(ctx context.Context, events []event, err error) error {
	span := l.span(events[0].number, events[len(events)-1].number)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted at %s; run the same command again to send the rest", span)
	case errors.Is(err, chargeingest.ErrOutcomeUnknown):
		return fmt.Errorf("%s: %w (outcome unknown); it is safe to run the same command again", span, err)
	}
	return fmt.Errorf("%s: %w", span, err)
}

func (l *loader) span(first, last int) string {
	if first == last {
		return fmt.Sprintf("%s:%d", l.name, first)
	}
	return fmt.Sprintf("%s: lines %d to %d", l.name, first, last)
}

func (l *loader) logRetry(text string) {
	l.mu.Lock()
	l.retried = true
	l.mu.Unlock()
	l.progress.print(text)
}

func (l *loader) warnOfReplays() {
	n := len(l.replays)
	if n == 0 {
		return
	}
	slices.Sort(l.replays)
	cause := ""
	if l.retried {
		cause = ", or by a request of this load that was retried"
	}
	l.progress.print(fmt.Sprintf("%s: warning: events without a reference that had already been stored, by an earlier load with the same -load-id%s: "+
		"%d (%s). They were not stored again. If this is a different file, load it with another -load-id", l.name, cause, n, lineNumbers(l.replays)))
}

func lineNumbers(lines []int) string {
	const maxNumbers = 10
	text := "line"
	if len(lines) > 1 {
		text = "lines"
	}
	for i, n := range lines[:min(len(lines), maxNumbers)] {
		if i > 0 {
			text += ","
		}
		text += " " + strconv.Itoa(n)
	}
	if more := len(lines) - maxNumbers; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
