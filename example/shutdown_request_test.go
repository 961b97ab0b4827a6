package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShutdownFinishesRequestsInFlight(t *testing.T) {
	tp, blocking := newTestProgram(), newBlockingStore()
	tp.openStore = blocking.open
	s := tp.start(t)
	responded := make(chan int, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err != nil {
			responded <- 0
			return
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			res.StatusCode = 0
		}
		responded <- res.StatusCode
	}()
	<-blocking.entered
	s.stop()
	require.True(t, s.log.waitFor("msg=stopping", s.done))
	close(blocking.release)
	require.Equal(t, http.StatusCreated, <-responded)
	<-s.done
	require.Equal(t, 0, s.status, s.log)
	require.Equal(t, []string{"append", "close"}, blocking.calls)
	_, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.Error(t, err, "the listener is open")
}

func TestShutdownAbortsAfterTimeout(t *testing.T) {
	tp, blocking := newTestProgram(), newBlockingStore()
	tp.openStore = blocking.open
	tp.timeouts.total = time.Millisecond
	s := tp.start(t)
	responded := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err == nil {
			res.Body.Close()
		}
		responded <- err
	}()
	<-blocking.entered
	s.stop()
	<-s.done
	require.Equal(t, 1, s.status)
	require.Contains(t, s.log.String(), "chargeingest: requests still in flight after 1ms were aborted: 1\n")
	require.Error(t, <-responded)
	require.Equal(t, []string{"close"}, blocking.calls)
}

func ingestRequest(s *runningServer) *http.Request {
	req, _ := http.NewRequest(http.MethodPost, s.url+"/v1/ingest/charge-data", strings.NewReader(eventLine(1)))
	req.Header.Set("X-API-KEY", s.key)
	req.Header.Set("Content-Type", "application/json")
	return req
}
