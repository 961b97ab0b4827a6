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
	"time"

	"github.com/stretchr/testify/require"
)

// listening serves a handler and returns where.
func listening(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// loading is a load that is ready.
func loading(t *testing.T, spec loadSpec) *load {
	l, err := newLoad(t.Context(), spec)
	require.NoError(t, err)
	t.Cleanup(l.close)
	return l
}

func TestLoadCountsWhatWasAcknowledged(t *testing.T) {
	var stored tally
	var requests atomic.Int64
	address := listening(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answerNothing(w, r)
	})
	l := loading(t, loadSpec{Address: address, Send: sendEvents, Connections: 4, Requests: 100, Seed: 1, Stream: 1, Version: 4})
	done, err := l.run()
	require.NoError(t, err)
	require.EqualValues(t, 100, requests.Load())
	require.EqualValues(t, 100, done.Acknowledged.Events)
	for _, lane := range l.lanes {
		stored.merge(lane.acknowledged)
	}
	require.Equal(t, stored, done.Acknowledged)
	require.Positive(t, done.Rate)
	require.GreaterOrEqual(t, done.Latency.P99, done.Latency.P50)
}

func TestAnyOtherAnswerFailsTheLoad(t *testing.T) {
	for name, c := range map[string]struct {
		send   string
		answer http.HandlerFunc
		want   string
	}{
		"a refusal": {sendEvents, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not today", http.StatusServiceUnavailable)
		}, "answered 503: not today"},
		"a success of a GET": {sendEvents, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, "answered 200: {}"},
		"an empty list":      {sendLists, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":[]}`) }, "is empty"},
		"none":               {sendEvents, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			address := listening(t, c.answer)
			_, err := loading(t, loadSpec{
				Address: address, Send: c.send, Connections: 2, Requests: 10, Seed: 1, Version: 4, Batch: 10, Events: 100,
			}).run()
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	l := &load{latency: newHistogram(), loadSpec: loadSpec{Rate: 100}}
	l.begin = time.Now()
	first, ok := l.take()
	require.True(t, ok)
	second, ok := l.take()
	require.True(t, ok)
	require.Equal(t, l.begin, first)
	require.Equal(t, l.begin.Add(10*time.Millisecond), second)
	// However late it was sent, it is from here that it counts.
	require.NoError(t, l.record(second, second.Add(time.Second), 1))
	require.InDelta(t, time.Second, percentiles(l.latency).P50, float64(time.Millisecond))
}

func TestWarmUpAndWhatEndsLateDoNotCount(t *testing.T) {
	now := time.Now()
	l := &load{latency: newHistogram(), count: now, end: now.Add(time.Second)}
	require.NoError(t, l.record(now.Add(-time.Second), now.Add(-time.Millisecond), 1))
	require.NoError(t, l.record(now, now.Add(time.Second+time.Millisecond), 1))
	require.Zero(t, l.counted)
	require.NoError(t, l.record(now, now.Add(time.Second), 5))
	require.EqualValues(t, 5, l.counted)
	require.EqualValues(t, 1, l.latency.TotalCount())
}

func TestNaiveEndpointStoresWhatItAcknowledges(t *testing.T) {
	path := t.TempDir() + "/naive.db"
	n, err := openNaive(t.Context(), path)
	require.NoError(t, err)
	post := func(request string, header ...string) int {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		require.NoError(t, err)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer := httptest.NewRecorder()
		n.ServeHTTP(answer, r)
		return answer.Code
	}
	request, made := patched(t, newEventPool(1), newReferences(1, 1, 4))
	require.Equal(t, http.StatusUnauthorized, post(string(request), "X-API-KEY", "another"))
	require.Equal(t, http.StatusBadRequest, post(strings.Replace(string(request), "pricing_item_id", "pricing_item_no", 1)))
	require.Equal(t, http.StatusCreated, post(string(request)))
	require.Equal(t, http.StatusInternalServerError, post(string(request)), "the index refuses what is there")
	require.NoError(t, n.Close())
	require.NoError(t, verifyDatabase(t.Context(), path, tallyOf(made...)))
}

func TestServerEndsWhenItsParentIsGone(t *testing.T) {
	w := newTestProgram(t).workshop(t)
	s, err := w.startServer(t.Context(), serverSpec{Serve: serveEmpty})
	require.NoError(t, err)
	defer s.abandon()
	require.NoError(t, s.in.Close())
	require.NoError(t, s.receive(new(served)))
	require.NoError(t, s.cmd.Wait())
	_, err = new(net.Dialer).DialContext(context.Background(), "tcp", s.Address)
	require.Error(t, err)
}

func TestChildIsKilledWithTheContext(t *testing.T) {
	w := newTestProgram(t).workshop(t)
	ctx, cancel := context.WithCancel(t.Context())
	address := listening(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		answerNothing(w, r)
	})
	c, err := w.start(ctx, roleLoad, loadSpec{Address: address, Send: sendEvents, Connections: 1, Time: time.Hour})
	require.NoError(t, err)
	defer c.abandon()
	_, err = c.work(c)
	require.ErrorContains(t, err, "killed")
}
