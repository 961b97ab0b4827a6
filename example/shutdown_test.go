package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// stalledWriter is a ResponseWriter whose client accepts nothing. A write ends at a
// deadline.
type stalledWriter struct {
	*httptest.ResponseRecorder
	deadlines chan struct{}
}

func newStalledWriter() *stalledWriter {
	return &stalledWriter{httptest.NewRecorder(), make(chan struct{}, 100)}
}

func (w *stalledWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *stalledWriter) SetWriteDeadline(time.Time) error { w.deadlines <- struct{}{}; return nil }

func (w *stalledWriter) Write([]byte) (int, error) {
	<-w.deadlines
	return 0, os.ErrDeadlineExceeded
}

func (w *stalledWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *stalledWriter) FlushError() error {
	_, err := w.Write(nil)
	return err
}

// begin runs a handler whose response goes to w.
func (f *inFlight) begin(w http.ResponseWriter, handle http.HandlerFunc) (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.track(handle).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	synctest.Wait()
	return done
}

// drain cuts requests as a shutdown does, until none is in flight.
func (f *inFlight) drain(waits shutdownWaits) {
	for f.cut(time.Now(), waits) > 0 {
		time.Sleep(waits.poll)
		synctest.Wait()
	}
}

func TestHandlersOfStalledClientsAreCut(t *testing.T) {
	waits := defaultShutdownWaits()
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		took   time.Duration
	}{
		"a write":                     {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) }, waits.stalledResponse},
		"a write of a string":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }, waits.stalledResponse},
		"a flush":                     {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, waits.stalledResponse},
		"a controller's flush":        {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, waits.stalledResponse},
		"a handler that works is not": {func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Second) }, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests inFlight
				begin := time.Now()
				ended := requests.begin(newStalledWriter(), c.handle)
				requests.drain(waits)
				<-ended
				require.InDelta(t, c.took, time.Since(begin), float64(2*waits.poll))
				require.Empty(t, requests.requests)
			})
		})
	}
}

// A write that no deadline ends, as in HTTP/2 on a connection that takes nothing,
// is not waited for.
func TestWriteThatCannotBeCutIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests inFlight
		waits := defaultShutdownWaits()
		w := deafWriter{newStalledWriter(), make(chan struct{})}
		ended := requests.begin(w, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) })
		require.Equal(t, 1, requests.cut(time.Now(), waits))
		time.Sleep(waits.stalledResponse)
		require.Equal(t, 0, requests.cut(time.Now(), waits))
		close(w.free)
		<-ended
	})
}

// deafWriter writes once it is free, whatever the deadline.
type deafWriter struct {
	*stalledWriter
	free chan struct{}
}

func (w deafWriter) Write(p []byte) (int, error) {
	<-w.free
	return len(p), nil
}

// A client that accepts its response slowly gets all of it.
func TestSlowResponseMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests inFlight
		waits := defaultShutdownWaits()
		w := slowWriter{newStalledWriter(), waits.stalledResponse / 2}
		text := strings.Repeat("x", 1<<20)
		written := 0
		ended := requests.begin(w, func(w http.ResponseWriter, _ *http.Request) { written, _ = io.WriteString(w, text) })
		requests.drain(waits)
		<-ended
		require.Equal(t, len(text), written)
		require.Empty(t, w.deadlines)
	})
}

type slowWriter struct {
	*stalledWriter
	pause time.Duration
}

func (w slowWriter) WriteString(s string) (int, error) {
	time.Sleep(w.pause)
	return len(s), nil
}
