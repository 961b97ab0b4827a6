package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

type shutdownTimeouts struct {
	// total limits the handlers.
	total time.Duration

	// for a client to read a piece of the response
	stalledResponse time.Duration

	// after the last handler
	connections time.Duration

	poll time.Duration
}

func defaultShutdownTimeouts() shutdownTimeouts {
	return shutdownTimeouts{
		total:           30 * time.Second,
		stalledResponse: 2 * time.Second,
		connections:     2 * time.Second,
		poll:            25 * time.Millisecond,
	}
}

// shutDown waits for the responses to completely received requests, and aborts stalled
// connections. It fails if handlers do not return.
func shutDown(ctx context.Context, srv *http.Server, requests *inFlight, timeouts shutdownTimeouts, logger *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeouts.total)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- srv.Shutdown(ctx) }()

	ticker := time.NewTicker(timeouts.poll)
	defer ticker.Stop()
	lastActive := time.Now()
	for {
		select {
		case err := <-drained:
			if err == nil {
				return nil
			}
			if n := requests.abortStalled(time.Now(), timeouts); n > 0 {
				_ = srv.Close()
				return fmt.Errorf("requests still in flight after %s were aborted: %d", timeouts.total, n)
			}
			return srv.Close()
		case <-ticker.C:
		}
		now := time.Now()
		if requests.abortStalled(now, timeouts) > 0 {
			lastActive = now
		}
		if now.Sub(lastActive) > timeouts.connections {
			logger.Info("closing connections whose clients neither send a request nor read a response")
			return srv.Close()
		}
	}
}

type inFlight struct {
	mu       sync.Mutex
	requests map[*trackedRequest]struct{}
}

func (f *inFlight) track(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &trackedRequest{ResponseWriter: w}
		f.add(t)
		defer f.remove(t)
		h.ServeHTTP(t, r)
	})
}

func (f *inFlight) add(t *trackedRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.requests == nil {
		f.requests = make(map[*trackedRequest]struct{})
	}
	f.requests[t] = struct{}{}
}

func (f *inFlight) remove(t *trackedRequest) {
	t.enter(ended)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.requests, t)
}

func (f *inFlight) abortStalled(now time.Time, timeouts shutdownTimeouts) (active int) {
	f.mu.Lock()
	requests := slices.Collect(maps.Keys(f.requests))
	f.mu.Unlock()
	for _, t := range requests {
		if t.abortIfStalled(now, timeouts) {
			active++
		}
	}
	return active
}

// trackedRequest records whether the handler waits for the client.
type trackedRequest struct {
	http.ResponseWriter

	mu      sync.Mutex
	phase   phase
	entered uint64 // the number of phases entered
	aborted bool

	// For abortIfStalled only.
	seen   uint64 // entered at seenAt
	seenAt time.Time
}

type phase int

const (
	working phase = iota
	writing
	ended
)

func (t *trackedRequest) enter(p phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = p
	t.entered++
}

// abortIfStalled reports whether the request is in flight and not aborted.
func (t *trackedRequest) abortIfStalled(now time.Time, timeouts shutdownTimeouts) (active bool) {
	t.mu.Lock() // keeps the connection from serving another request
	defer t.mu.Unlock()
	if t.seenAt.IsZero() || t.seen != t.entered {
		t.seen, t.seenAt = t.entered, now
	}
	if t.phase == writing && now.Sub(t.seenAt) >= timeouts.stalledResponse {
		t.aborted = true
		past := time.Unix(1, 0)
		control := http.NewResponseController(t.ResponseWriter)
		_ = control.SetReadDeadline(past) // net/http may read the rest of a body before it writes
		_ = control.SetWriteDeadline(past)
	}
	return t.phase != ended && !t.aborted
}

func (t *trackedRequest) Write(p []byte) (int, error) {
	return writePieces(t, p, t.ResponseWriter.Write)
}

func (t *trackedRequest) WriteString(s string) (int, error) {
	return writePieces(t, s, func(piece string) (int, error) { return io.WriteString(t.ResponseWriter, piece) })
}

// writePieces enters a phase per piece: a slow client makes progress.
func writePieces[T string | []byte](t *trackedRequest, p T, write func(T) (int, error)) (int, error) {
	const maxPiece = 64 << 10
	defer t.enter(working)
	written := 0
	for {
		t.enter(writing)
		n, err := write(p[written:min(len(p), written+maxPiece)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

func (t *trackedRequest) FlushError() error {
	t.enter(writing)
	defer t.enter(working)
	return http.NewResponseController(t.ResponseWriter).Flush()
}

func (t *trackedRequest) Flush() { _ = t.FlushError() }

func (t *trackedRequest) Unwrap() http.ResponseWriter { return t.ResponseWriter }
