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

// shutdownWaits is how long a shutdown waits for what.
type shutdownWaits struct {
	// handlers bounds the whole. Requests that are handled for longer are cut
	// off, and the shutdown has failed.
	handlers time.Duration

	// stalledResponse is for a client to accept the next piece of its response.
	stalledResponse time.Duration

	// connections is for connections that are busy without a request in a handler:
	// the header of their request has not arrived, or the end of their last
	// response has not been accepted.
	connections time.Duration

	poll time.Duration // how often all this is looked at
}

func defaultShutdownWaits() shutdownWaits {
	return shutdownWaits{
		handlers:        30 * time.Second,
		stalledResponse: 2 * time.Second,
		connections:     2 * time.Second,
		poll:            25 * time.Millisecond,
	}
}

// shutDown ends a server once every request that was received whole has its
// response. Clients that do not send the rest of a request, or do not accept a
// response, delay it by a few seconds at most: the endpoint bounds what it reads
// and writes itself, and what is left is cut off here. The error is that of
// requests whose handlers did not end.
func shutDown(ctx context.Context, srv *http.Server, requests *inFlight, waits shutdownWaits, logger *slog.Logger) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), waits.handlers)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- srv.Shutdown(bounded) }()

	ticker := time.NewTicker(waits.poll)
	defer ticker.Stop()
	busy := time.Now()
	for {
		select {
		case err := <-drained:
			if err == nil {
				return nil
			}
			if n := requests.cut(time.Now(), waits); n > 0 {
				_ = srv.Close()
				return fmt.Errorf("requests were still in flight after %s and were cut off: %d", waits.handlers, n)
			}
			return srv.Close()
		case <-ticker.C:
		}
		now := time.Now()
		if requests.cut(now, waits) > 0 {
			busy = now
		}
		if now.Sub(busy) > waits.connections {
			logger.Info("closing connections whose clients neither send a request nor accept a response")
			return srv.Close()
		}
	}
}

// inFlight tracks the requests of a server while their handlers run.
type inFlight struct {
	mu       sync.Mutex
	requests map[*trackedRequest]struct{}
}

// track wraps a handler.
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

// cut gives up requests whose client does not accept its response. It returns how
// many others are in flight. It is called again and again during a shutdown.
func (f *inFlight) cut(now time.Time, waits shutdownWaits) int {
	f.mu.Lock()
	requests := slices.Collect(maps.Keys(f.requests))
	f.mu.Unlock()
	n := 0
	for _, t := range requests {
		if t.cut(now, waits) {
			n++
		}
	}
	return n
}

// trackedRequest is the ResponseWriter of a request in a handler. It knows whether
// the handler is waiting for the client.
type trackedRequest struct {
	http.ResponseWriter

	mu        sync.Mutex
	phase     phase
	entered   uint64 // how many times a phase was entered
	abandoned bool   // the client does not accept its response

	// For cut alone:
	seen   uint64 // entered, at seenAt
	seenAt time.Time
}

type phase int

const (
	working phase = iota
	writing
	ended
)

// enter is called by the handler's goroutine.
func (t *trackedRequest) enter(p phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = p
	t.entered++
}

// cut ends a write that has taken too long. It reports whether the request is still
// in flight for a client that accepts its response.
func (t *trackedRequest) cut(now time.Time, waits shutdownWaits) bool {
	t.mu.Lock() // so that the handler does not return, and the connection has no other request
	defer t.mu.Unlock()
	if t.seenAt.IsZero() || t.seen != t.entered {
		t.seen, t.seenAt = t.entered, now
	}
	if t.phase == writing && now.Sub(t.seenAt) >= waits.stalledResponse {
		t.abandoned = true
		past := time.Unix(1, 0)
		control := http.NewResponseController(t.ResponseWriter)
		_ = control.SetReadDeadline(past) // net/http may read the rest of a body before it writes
		_ = control.SetWriteDeadline(past)
	}
	return t.phase != ended && !t.abandoned
}

// Write implements [http.ResponseWriter]. A client that accepts a long text slowly
// makes progress with every piece.
func (t *trackedRequest) Write(p []byte) (int, error) {
	return inPieces(t, p, t.ResponseWriter.Write)
}

// WriteString implements [io.StringWriter].
func (t *trackedRequest) WriteString(s string) (int, error) {
	return inPieces(t, s, func(piece string) (int, error) { return io.WriteString(t.ResponseWriter, piece) })
}

func inPieces[T string | []byte](t *trackedRequest, p T, write func(T) (int, error)) (int, error) {
	const most = 64 << 10
	defer t.enter(working)
	written := 0
	for {
		t.enter(writing)
		n, err := write(p[written:min(len(p), written+most)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// FlushError is what [http.ResponseController.Flush] calls.
func (t *trackedRequest) FlushError() error {
	t.enter(writing)
	defer t.enter(working)
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Flush implements [http.Flusher].
func (t *trackedRequest) Flush() { _ = t.FlushError() }

// Unwrap gives [http.ResponseController] everything else.
func (t *trackedRequest) Unwrap() http.ResponseWriter { return t.ResponseWriter }
