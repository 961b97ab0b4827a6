package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargeclient"
)

func newTestClient(t *testing.T, tp *testProgram, handle http.HandlerFunc) *client {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	return tp.newOldClient(clientConfig{chargeclient.Config{URL: srv.URL, APIKey: "k"}}, tp.printError)
}

func respondWith(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func TestClientBackoffAndTimeout(t *testing.T) {
	tp := newTestProgram()
	c := newTestClient(t, tp, respondWith(http.StatusServiceUnavailable))
	_, err := c.do(t.Context(), request{method: http.MethodGet}, 20*time.Second)
	var e *statusError
	require.ErrorAs(t, err, &e)
	require.Equal(t, http.StatusServiceUnavailable, e.status)
	require.ErrorContains(t, err, "gave up after 20s: ")
	const ms = time.Millisecond
	require.Equal(t, []time.Duration{250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 4250 * ms}, tp.pauses)
}

func TestClientRetryAfter(t *testing.T) {
	for header, pause := range map[string]time.Duration{
		"":            250 * time.Millisecond,
		"0":           250 * time.Millisecond,
		"7":           7 * time.Second,
		"3600":        30 * time.Second,
		"99999999999": 250 * time.Millisecond,
		"-1":          250 * time.Millisecond,
		"soon":        250 * time.Millisecond,
		// The Date is 07:27:50. The client's clock is years ahead.
		"Wed, 21 Oct 2015 07:28:00 GMT":     10 * time.Second,
		"Wednesday, 21-Oct-15 07:28:01 GMT": 11 * time.Second,
		"Wed Oct 21 07:28:02 2015":          12 * time.Second,
		"Wed, 21 Oct 2015 07:27:40 GMT":     250 * time.Millisecond,
		"Wed, 21 Oct 2065 07:28:00 GMT":     30 * time.Second,
	} {
		tp := newTestProgram()
		ctx, cancel := context.WithCancel(t.Context())
		c := newTestClient(t, tp, respondWith(http.StatusServiceUnavailable, "Retry-After", header, "Date", "Wed, 21 Oct 2015 07:27:50 GMT"))
		c.logRetry = func(string) { cancel() }
		_, err := c.do(ctx, request{method: http.MethodGet}, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []time.Duration{pause}, tp.pauses, header)
	}
}

func TestRetryAfterDateWithoutResponseDate(t *testing.T) {
	tp := newTestProgram()
	in := func(d time.Duration) error {
		return &statusError{header: http.Header{"Retry-After": {tp.now().Add(d).Format(http.TimeFormat)}}}
	}
	require.Equal(t, 20*time.Second, retryAfter(in(20*time.Second), tp.now()))
	require.Negative(t, retryAfter(in(-time.Hour), tp.now()))
}

func TestRetryableErrors(t *testing.T) {
	for _, c := range []struct {
		err       error
		retryable bool
	}{
		{errors.New("connection refused"), true},
		{&statusError{status: http.StatusTooManyRequests}, true},
		{&statusError{status: http.StatusBadGateway}, true},
		{&statusError{status: http.StatusServiceUnavailable}, true},
		{&statusError{status: http.StatusServiceUnavailable, header: http.Header{"Idempotency-Retryable": {"true"}}}, true},
		{&statusError{status: http.StatusServiceUnavailable, header: http.Header{"Idempotency-Retryable": {"false"}}}, false},
		{&statusError{status: http.StatusGatewayTimeout}, true},
		{&statusError{status: http.StatusInternalServerError}, false},
		{&statusError{status: http.StatusBadRequest}, false},
		{&statusError{status: http.StatusConflict}, false},
		{&statusError{status: http.StatusFound}, false},
	} {
		require.Equal(t, c.retryable, isRetryable(c.err), c.err)
	}
}

func TestClientRetriesTheWholeRequest(t *testing.T) {
	tp := newTestProgram()
	var bodies, keys []string
	c := newTestClient(t, tp, func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		bodies, keys = append(bodies, string(body)), append(keys, r.Header.Get("X-Api-Key")+r.Header.Get("Idempotency-Key"))
		if len(bodies) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	_, err := c.do(t.Context(), request{method: http.MethodPost, body: []byte("text"), header: map[string]string{"Idempotency-Key": "i"}}, retryTimeout)
	require.NoError(t, err)
	require.Equal(t, []string{"text", "text", "text"}, bodies)
	require.Equal(t, []string{"ki", "ki", "ki"}, keys)
}

func TestClientRetriesIncompleteResponse(t *testing.T) {
	tp := newTestProgram()
	attempts := 0
	c := newTestClient(t, tp, func(w http.ResponseWriter, _ *http.Request) {
		if attempts++; attempts == 1 {
			w.Header().Set("Content-Length", "10")
		}
		_, _ = w.Write([]byte("text"))
	})
	res, err := c.do(t.Context(), request{method: http.MethodGet}, retryTimeout)
	require.NoError(t, err)
	require.Equal(t, "text", string(res.body))
	require.Equal(t, 2, attempts)
}

func TestSleepIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sleep(ctx, time.Hour), context.Canceled)
	require.NoError(t, sleep(t.Context(), 0))
}
