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

func (f *inFlight) begin(w http.ResponseWriter, handle http.HandlerFunc) (ended <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.track(handle).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	}()
	synctest.Wait()
	return done
}

func (f *inFlight) drain(timeouts shutdownTimeouts) {
	for f.abortStalled(time.Now(), timeouts) > 0 {
		time.Sleep(timeouts.poll)
		synctest.Wait()
	}
}

func TestStalledResponsesAreAborted(t *testing.T) {
	timeouts := defaultShutdownTimeouts()
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		took   time.Duration
	}{
		"write":                       {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) }, timeouts.stalledResponse},
		"write of a string":           {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }, timeouts.stalledResponse},
		"flush":                       {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, timeouts.stalledResponse},
		"flush by ResponseController": {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, timeouts.stalledResponse},
		"handler that does not write": {func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Second) }, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests inFlight
				begin := time.Now()
				ended := requests.begin(newStalledWriter(), c.handle)
				requests.drain(timeouts)
				<-ended
				require.InDelta(t, c.took, time.Since(begin), float64(2*timeouts.poll))
				require.Empty(t, requests.requests)
			})
		})
	}
}

// A deadline cannot end a write in HTTP/2 on a stalled connection.
func TestWriteThatIgnoresDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests inFlight
		timeouts := defaultShutdownTimeouts()
		w := deafWriter{newStalledWriter(), make(chan struct{})}
		ended := requests.begin(w, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("text")) })
		require.Equal(t, 1, requests.abortStalled(time.Now(), timeouts))
		time.Sleep(timeouts.stalledResponse)
		require.Equal(t, 0, requests.abortStalled(time.Now(), timeouts))
		close(w.free)
		<-ended
	})
}

type deafWriter struct {
	*stalledWriter
	free chan struct{}
}

func (w deafWriter) Write(p []byte) (int, error) {
	<-w.free
	return len(p), nil
}

func TestSlowResponseIsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests inFlight
		timeouts := defaultShutdownTimeouts()
		w := slowWriter{newStalledWriter(), timeouts.stalledResponse / 2}
		text := strings.Repeat("x", 1<<20)
		written := 0
		ended := requests.begin(w, func(w http.ResponseWriter, _ *http.Request) { written, _ = io.WriteString(w, text) })
		requests.drain(timeouts)
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
