package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func logTo(text *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestSummaryPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newSummary(time.Now())
		var text bytes.Buffer
		logger := logTo(&text)
		go s.logEach(ctx, time.Minute, logger)
		pass := func(d time.Duration) string {
			time.Sleep(d)
			synctest.Wait()
			defer text.Reset()
			return text.String()
		}
		require.Empty(t, pass(2*time.Minute))

		s.add(chargeingest.RequestStats{Route: chargeingest.RouteBatch, Status: 201, Events: 500, Replayed: 20})
		s.add(chargeingest.RequestStats{Route: chargeingest.RouteSingle, Status: 201, Events: 1})
		s.add(chargeingest.RequestStats{Route: chargeingest.RouteList, Status: 200, Events: 50})
		for _, status := range []int{503, 401, 401} {
			s.add(chargeingest.RequestStats{Status: status})
		}
		require.Equal(t, "level=INFO msg=summary period=1m0s requests=6 events_stored=481 events_replayed=20 refused.401=2 refused.503=1\n",
			pass(time.Minute))
		require.Empty(t, pass(time.Minute), "no requests since the last summary")

		s.add(chargeingest.RequestStats{Route: chargeingest.RouteSingle, Status: 201, Events: 1, Replayed: 1})
		require.Empty(t, pass(10*time.Second))
		s.log(logger)
		require.Equal(t, "level=INFO msg=summary period=10s requests=1 events_stored=0 events_replayed=1\n", pass(0))
		cancel()
	})
}

func TestSummaryAtShutdown(t *testing.T) {
	s := startServer(t)
	for range 2 {
		status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", eventLine(1))
		require.Equal(t, http.StatusCreated, status)
	}
	status, _ := s.send(t, http.MethodPost, "/v1/ingest/charge-data", "{}")
	require.Equal(t, http.StatusBadRequest, status)
	s.stop()
	<-s.done
	require.Regexp(t, `msg=summary period=\S+ requests=3 events_stored=1 events_replayed=1 refused\.400=1\n.*msg=stopped`, s.log.String())
}
