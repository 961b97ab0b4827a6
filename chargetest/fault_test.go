package chargetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

func TestStatusResponse(t *testing.T) {
	for _, c := range []struct {
		fault      chargetest.Fault
		status     int
		kind, code string
		headers    map[string]string
	}{
		{chargetest.Status(400), 400, "INVALID_REQUEST", "BAD_REQUEST", map[string]string{"Idempotency-Retryable": "", "Retry-After": ""}},
		{chargetest.Status(401), 401, "INVALID_REQUEST", "UNAUTHORISED", map[string]string{"WWW-Authenticate": "Bearer"}},
		{chargetest.Status(403), 403, "INVALID_REQUEST", "USER_NOT_ALLOWED", nil},
		{chargetest.Status(404), 404, "INVALID_REQUEST", "RESOURCE_NOT_FOUND", nil},
		{chargetest.Status(405), 405, "INVALID_REQUEST", "INVALID_OPERATION", nil},
		{chargetest.Status(409), 409, "INVALID_REQUEST", "RESOURCE_ALREADY_EXISTS", nil},
		{chargetest.Status(409).Code(chargeingest.CodeIdempotencyCheckFailed), 409, "INVALID_REQUEST", "IDEMPOTENCY_CHECK_FAILED", nil},
		{chargetest.Status(413), 413, "INVALID_REQUEST", "BAD_REQUEST", nil},
		{chargetest.Status(415), 415, "INVALID_REQUEST", "UNSUPPORTED_MEDIA_TYPE", nil},
		{chargetest.Status(429).RetryAfter(1500 * time.Millisecond), 429, "INVALID_REQUEST", "TOO_MANY_REQUESTS", map[string]string{"Retry-After": "2"}},
		{chargetest.Status(500), 500, "API_ERROR", "INTERNAL_ERROR", map[string]string{"Idempotency-Retryable": "false", "Retry-After": ""}},
		{chargetest.Status(502), 502, "API_ERROR", "INTERNAL_ERROR", map[string]string{"Idempotency-Retryable": "true"}},
		{chargetest.Status(503), 503, "API_ERROR", "INTERNAL_ERROR", map[string]string{"Idempotency-Retryable": "true", "Retry-After": "1"}},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			srv := chargetest.New(t)
			srv.FailNext(1, c.fault.Message("custom"))
			a := requireStatus(t, c.status)(overSocket(srv).charge(t, "a", "X-Request-Id: mine"))
			var body map[string]string
			require.NoError(t, json.Unmarshal([]byte(a.text), &body))
			require.Equal(t, map[string]string{"type": c.kind, "code": c.code, "message": "custom"}, body)
			require.Equal(t, "application/json", a.Header.Get("Content-Type"))
			require.Equal(t, "mine", a.Header.Get("X-Request-Id"))
			for name, value := range c.headers {
				require.Equal(t, value, a.Header.Get(name), name)
			}
			require.Empty(t, srv.Events())
		})
	}
}

func TestRetryableHeaderAfterCommit(t *testing.T) {
	for _, c := range []struct {
		name, reference string
		header          string
		want            string
	}{
		{"with a reference", "a", "X-Other: 1", "true"},
		{"with an idempotency key", "", "Idempotency-Key: k", "true"},
		{"with neither", "", "X-Other: 1", "false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := chargetest.New(t)
			srv.FailNext(1, chargetest.Status(503).AfterCommit())
			a := requireStatus(t, 503)(overSocket(srv).charge(t, c.reference, c.header))
			require.Equal(t, c.want, a.Header.Get("Idempotency-Retryable"))
			require.Equal(t, c.want == "true", a.Header.Get("Retry-After") != "")
			srv.AssertCount(t, 1)
		})
	}
}

func TestResetBeforeAndAfterCommit(t *testing.T) {
	for _, c := range []struct {
		fault  chargetest.Fault
		stored int
	}{{chargetest.Reset(), 0}, {chargetest.Reset().AfterCommit(), 1}} {
		t.Run(c.fault.String(), func(t *testing.T) {
			srv := chargetest.New(t)
			srv.FailNext(2, c.fault)
			_, err := overSocket(srv).charge(t, "a")
			require.ErrorIs(t, err, syscall.ECONNRESET)
			srv.AssertCount(t, c.stored)
			_, err = inMemory(srv).charge(t, "b")
			require.ErrorIs(t, err, io.EOF)
			srv.AssertCount(t, 2*c.stored)
			for _, r := range srv.Requests() {
				require.Zero(t, r.Status)
				require.Equal(t, c.stored, r.Stored)
				require.Contains(t, r.String(), "no response")
			}
		})
	}
}

func TestResetAbortsWithoutHijacker(t *testing.T) {
	srv := chargetest.New(t)
	srv.FailNext(1, chargetest.Reset())
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		srv.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, eventPath, nil))
	})
}

func TestResponseFaultsKeepEvents(t *testing.T) {
	for _, connect := range []func(*chargetest.Server) client{overSocket, inMemory} {
		srv := chargetest.New(t)
		srv.FailNext(1, chargetest.Truncated())
		half, err := connect(srv).charge(t, "truncated")
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.Contains(t, half.text, `"product_item_id"`)

		srv.FailNext(1, chargetest.Malformed())
		a := requireStatus(t, 201)(connect(srv).charge(t, "malformed"))
		require.False(t, json.Valid([]byte(a.text)))

		srv.FailNext(1, chargetest.SlowBody(8*time.Millisecond))
		a = requireStatus(t, 201)(connect(srv).charge(t, "slow"))
		require.True(t, json.Valid([]byte(a.text)))
		srv.AssertCount(t, 3)
	}
}

func TestSlowBodyDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(1, chargetest.SlowBody(time.Minute))
		start := time.Now()
		requireStatus(t, 201)(inMemory(srv).charge(t, "a"))
		require.Equal(t, time.Minute, time.Since(start))
	})
}

func TestClientTimeoutDuringDelay(t *testing.T) {
	for _, c := range []struct {
		fault  chargetest.Fault
		stored int
	}{{chargetest.Delay(time.Hour), 0}, {chargetest.Delay(time.Hour).AfterCommit(), 1}} {
		t.Run(c.fault.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := chargetest.New(t)
				srv.FailNext(1, c.fault)
				sender := inMemory(srv)
				sender.http.Timeout = time.Second
				_, err := sender.charge(t, "a")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				synctest.Wait()
				srv.AssertCount(t, c.stored)
			})
		})
	}
}

func TestDelayBeforeAnotherFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(1, chargetest.Status(504).Delay(30*time.Second))
		start := time.Now()
		requireStatus(t, 504)(inMemory(srv).charge(t, "a"))
		require.Equal(t, 30*time.Second, time.Since(start))
		requireStatus(t, 201)(inMemory(srv).charge(t, "a"))
		require.Equal(t, 30*time.Second, time.Since(start))
	})
}

func TestStoreErrorResponse(t *testing.T) {
	full := fmt.Errorf("disk full: %w", chargeingest.ErrNotStored)
	for _, c := range []struct {
		name, reference string
		fault           chargetest.Fault
		status, stored  int
	}{
		{"nothing stored", "", chargetest.StoreError(full), 503, 0},
		{"unknown outcome with a reference", "a", chargetest.StoreError(errors.New("lost")), 503, 0},
		{"unknown outcome without a reference", "", chargetest.StoreError(errors.New("lost")), 500, 0},
		{"stored nevertheless", "", chargetest.StoreError(errors.New("lost")).AfterCommit(), 500, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := chargetest.New(t)
			srv.FailNext(1, c.fault)
			requireStatus(t, c.status)(overSocket(srv).charge(t, c.reference))
			srv.AssertCount(t, c.stored)
			srv.AssertNoRejections(t)
		})
	}
	t.Run("reading", func(t *testing.T) {
		srv := chargetest.New(t)
		ev := srv.Seed(t, chargetest.Sample("a"))[0]
		srv.FailNext(2, chargetest.StoreError(errors.New("lost")))
		requireStatus(t, 503)(overSocket(srv).do(t.Context(), http.MethodGet, eventPath, nil))
		requireStatus(t, 503)(overSocket(srv).do(t.Context(), http.MethodGet, eventPath+"/"+ev.ID, nil))
		requireStatus(t, 200)(overSocket(srv).do(t.Context(), http.MethodGet, eventPath+"/"+ev.ID, nil))
	})
}

func TestInvalidFaultFailsTest(t *testing.T) {
	for name, inject := range map[string]func(*chargetest.Server){
		"from 400 to 599":                 func(s *chargetest.Server) { s.FailNext(1, chargetest.Status(201)) },
		"empty fault":                     func(s *chargetest.Server) { s.FailNext(1, chargetest.Delay(0)) },
		"apply to Status only":            func(s *chargetest.Server) { s.FailNext(1, chargetest.Reset().RetryAfter(time.Second)) },
		"always happens after the commit": func(s *chargetest.Server) { s.FailNext(1, chargetest.Malformed().AfterCommit()) },
		"cannot go back":                  func(s *chargetest.Server) { s.Advance(-time.Second) },
		"StoreError is nil":               func(s *chargetest.Server) { s.FailNext(1, chargetest.StoreError(nil)) },
		"cannot happen after": func(s *chargetest.Server) {
			s.FailNext(1, chargetest.StoreError(chargeingest.ErrOverloaded).AfterCommit())
		},
		"SlowBody must be":     func(s *chargetest.Server) { s.FailNext(1, chargetest.SlowBody(0)) },
		"duration is negative": func(s *chargetest.Server) { s.FailNext(1, chargetest.Status(503).RetryAfter(-1)) },
		"n must be 1 or more":  func(s *chargetest.Server) { s.FailNext(0, chargetest.Reset()) },
		"d must be longer":     func(s *chargetest.Server) { s.FailFor(0, chargetest.Reset()) },
		"p must be from 0":     func(s *chargetest.Server) { s.FailSometimes(2, 1, chargetest.Reset()) },
		"n must be 0 or more":  func(s *chargetest.Server) { s.Quota(-1, time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			tb := new(fakeTB)
			srv := chargetest.New(tb)
			inject(srv)
			require.Contains(t, tb.failure(), name)
			requireStatus(t, 201)(overSocket(srv).charge(t, "a"))
			tb.end()
		})
	}
}
