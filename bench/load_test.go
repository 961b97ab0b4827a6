package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func listening(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func runLoad(t *testing.T, spec loadSpec) (outcome, error) {
	l, err := newLoad(t.Context(), spec)
	require.NoError(t, err)
	t.Cleanup(l.close)
	return l.run(t.Context())
}

func TestLoadCountsAcknowledgedEvents(t *testing.T) {
	var requests atomic.Int64
	address := listening(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		respondCreated(w, r)
	})
	done, err := runLoad(t, loadSpec{
		workload: workload{Seed: 1, Stream: 1, UUID: 4, Requests: 100}, Address: address, Connections: 4, Batch: 3,
	})
	require.NoError(t, err)
	require.EqualValues(t, 100, requests.Load())
	require.EqualValues(t, 300, done.Acknowledged.Events)
	require.Positive(t, done.Rate)
	require.GreaterOrEqual(t, done.Latency.P99, done.Latency.P50)
}

func TestOtherResponsesFailTheLoad(t *testing.T) {
	for name, c := range map[string]struct {
		list    int64
		respond http.HandlerFunc
		want    string
	}{
		"an error": {0, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not today", http.StatusServiceUnavailable)
		}, "status 503, not 201: not today"},
		"another success": {0, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "{}")
		}, "status 200, not 201: {}"},
		"an empty list": {100, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":[]}`)
		}, "is empty"},
		"no response": {0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "response: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runLoad(t, loadSpec{
				workload: workload{Seed: 1, UUID: 4, Requests: 10}, Address: listening(t, c.respond), Connections: 2, List: c.list,
			})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestMeterCountsWithinItsTime(t *testing.T) {
	now := time.Now()
	m := workload{WarmUp: time.Second, Time: time.Second}.newMeter(now.Add(-time.Second))
	one, five := operation{now.Add(-time.Second), tally{Events: 1}, 1}, operation{now, tally{Events: 5}, 5}
	require.NoError(t, m.record(one, now.Add(-time.Millisecond)))
	require.NoError(t, m.record(one, now.Add(time.Second+time.Millisecond)))
	require.Zero(t, m.counted)
	require.NoError(t, m.record(five, now.Add(time.Second)))
	done := m.outcome()
	require.InDelta(t, 5, done.Rate, 1e-9)
	require.EqualValues(t, 7, done.Acknowledged.Events)
	require.InDelta(t, time.Second, done.Latency.P50, float64(time.Millisecond))
}

func TestNaiveEndpoint(t *testing.T) {
	path := t.TempDir() + "/naive.db"
	n, err := openNaive(t.Context(), path)
	require.NoError(t, err)
	post := func(request string, header ...string) int {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		require.NoError(t, err)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response := httptest.NewRecorder()
		n.ServeHTTP(response, r)
		return response.Code
	}
	sent, made := patched(t, eventRequests(1), newReferences(1, 1, 4))
	request := string(sent)
	require.Equal(t, http.StatusUnauthorized, post(request, "X-API-KEY", "another"))
	require.Equal(t, http.StatusBadRequest, post(strings.Replace(request, "pricing_item_id", "pricing_item_no", 1)))
	require.Equal(t, http.StatusCreated, post(request))
	require.Equal(t, http.StatusInternalServerError, post(request), "the reference is not unique")
	require.NoError(t, n.Close())
	require.NoError(t, verifySQLite(t.Context(), path, tallyOf(made...)))
}

func TestServerEndsWithItsParent(t *testing.T) {
	w := newTestProgram(t).workshop(t)
	s, err := w.startServer(t.Context(), row{backend: backendEmpty}, "", "")
	require.NoError(t, err)
	defer s.kill()
	require.NoError(t, s.in.Close())
	require.NoError(t, s.receive(new(tally)))
	require.NoError(t, s.cmd.Wait())
	_, err = new(net.Dialer).DialContext(context.Background(), "tcp", s.address)
	require.Error(t, err)
}

func TestChildIsKilledWithTheContext(t *testing.T) {
	w := newTestProgram(t).workshop(t)
	ctx, cancel := context.WithCancel(t.Context())
	address := listening(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		respondCreated(w, r)
	})
	_, err := w.run(ctx, roleLoad, loadSpec{workload: workload{Time: time.Hour}, Address: address, Connections: 1}, nil)
	require.ErrorContains(t, err, "killed")
}

func TestLatencyCountsFromTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		done, err := workload{Requests: 4, Rate: 10}.run(t.Context(), 1, func() {}, func(context.Context, int) (operation, error) {
			op := operation{started: time.Now(), count: 1}
			if calls++; calls == 2 {
				time.Sleep(250 * time.Millisecond)
			}
			return op, nil
		})
		require.NoError(t, err)
		require.InDelta(t, 4/0.35, done.Rate, 0.01)
		require.InDelta(t, 50*time.Millisecond, done.Latency.P50, float64(time.Millisecond))
		require.InDelta(t, 250*time.Millisecond, done.Latency.P99, float64(time.Millisecond))
	})
}
