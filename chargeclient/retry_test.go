package chargeclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

const storedSample = `{"id":"chda_1","product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"a"}`

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	return f(r)
}

func respond(r *http.Request, status int, body string, headers ...string) (*http.Response, error) {
	res := &http.Response{Request: r, StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}
	res.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		res.Header.Set(name, value)
	}
	return res, nil
}

func newClientOf(t *testing.T, f transport, set ...func(*chargeclient.Config)) *chargeclient.Client {
	t.Helper()
	cfg := chargeclient.Config{URL: "http://127.0.0.1:1/billing/", APIKey: "secret-key", HTTPClient: &http.Client{Transport: f}}
	for _, s := range set {
		s(&cfg)
	}
	c, err := chargeclient.New(cfg)
	require.NoError(t, err)
	return c
}

func TestRetryDecisions(t *testing.T) {
	const yes, no = "Idempotency-Retryable: true", "Idempotency-Retryable: false"
	html := "Content-Type: text/html"
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	type outcome struct {
		status  int // 0: err
		headers []string
		body    string
		err     error
	}
	status := func(status int, headers ...string) outcome { return outcome{status: status, headers: headers} }
	for _, c := range []struct {
		name    string
		first   outcome
		retried bool
		unknown bool
	}{
		{"the server allows it", status(503, yes), true, true},
		{"with any 5xx", status(500, yes), true, true},
		{"a 4xx is final in any case", status(400, yes), false, false},
		{"the server forbids it", status(500, no), false, true},
		{"even with Retry-After", status(503, no, "Retry-After: 1"), false, true},
		{"even after too many requests", status(429, no), false, false},
		{"too many requests, and the server allows it", status(429, yes), true, false},
		{"a proxy limits requests", status(429, html), true, false},
		{"a proxy has no response", status(502, html), true, true},
		{"a proxy has no server", status(503, html), true, true},
		{"a proxy did not wait", status(504, html), true, true},
		{"a proxy did not get the request in time", status(408, html), true, true},
		{"an unknown server error", status(500, html), false, true},
		{"not implemented", status(501, html), false, true},
		{"bad request", status(400), false, false},
		{"unauthorized", status(401), false, false},
		{"not found", status(404, html), false, false},
		{"conflict", status(409), false, false},
		{"too large", status(413), false, false},
		{"redirect", status(307, "Location: http://example.com/"), false, false},
		{"the connection broke", outcome{err: io.ErrUnexpectedEOF}, true, true},
		{"no connection, of a transport without a trace", outcome{err: dial}, true, true},
		{"an untrusted certificate", outcome{err: &tls.CertificateVerificationError{Err: errors.New("x")}}, false, false},
		{"HTTP instead of HTTPS", outcome{err: http.ErrSchemeMismatch}, false, false},
		{"an incomplete response", outcome{status: 201, body: "incomplete"}, true, true},
		{"damaged JSON", outcome{status: 201, body: storedSample[1:]}, true, true},
		{"the page of a portal", outcome{status: 200, body: "<html>", headers: []string{html}}, false, true},
		{"a page with the right status", outcome{status: 201, body: "<html>", headers: []string{html}}, false, true},
		{"another success", outcome{status: 202, body: storedSample}, false, true},
		{"other JSON", outcome{status: 201, body: `{"status":"ok"}`}, false, true},
		{"an event without an id", outcome{status: 201, body: strings.Replace(storedSample, "chda_1", "", 1)}, false, true},
		{"another event", outcome{status: 201, body: strings.Replace(storedSample, `"a"`, `"b"`, 1)}, false, true},
		{"a list", outcome{status: 201, body: `[]`}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := 0
				client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
					attempts++
					switch {
					case attempts > 1 && c.retried:
						return respond(r, 400, "")
					case c.first.err != nil:
						return nil, c.first.err
					case c.first.body == "incomplete":
						res, err := respond(r, c.first.status, "")
						res.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), brokenReader{}))
						return res, err
					}
					return respond(r, c.first.status, c.first.body, c.first.headers...)
				})
				_, _, err := client.Send(t.Context(), chargetest.Sample("a"))
				var failed *chargeclient.Error
				require.ErrorAs(t, err, &failed)
				require.Equal(t, c.unknown, errors.Is(err, chargeingest.ErrOutcomeUnknown), err)
				want := 1
				if c.retried {
					want = 2
				}
				require.Equal(t, want, attempts)
				require.Equal(t, want, failed.Attempts)
				require.Equal(t, c.retried || c.first.err == nil, failed.Status != 0)
			})
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReadsHaveNoUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.RetryTimeout = time.Second })
		for _, f := range []chargetest.Fault{chargetest.Reset(), chargetest.Status(500), chargetest.Status(503), chargetest.Truncated()} {
			rule := srv.FailFor(time.Hour, f)
			_, err := c.List(t.Context(), chargeclient.Query{})
			require.Error(t, err)
			require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			rule.Remove()
		}
	})
}

func TestRefusedConnectionStoresNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	ctx, cancel := context.WithCancel(t.Context())
	c, err := chargeclient.New(chargeclient.Config{
		URL: "http://" + l.Addr().String(), APIKey: "k",
		OnRetry: func(chargeclient.Retry) { cancel() },
	})
	require.NoError(t, err)
	_, _, err = c.Send(ctx, chargetest.Sample("a"))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
	require.ErrorContains(t, err, "refused")
}

func TestRejectionAfterLostResponse(t *testing.T) {
	for _, status := range []int{400, 401, 409, 413, 429} {
		for _, f := range forms {
			t.Run(strconv.Itoa(status)+"/"+f.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newApplication(t)
					a.deliver(forms[0]) // opens the connection
					a.server.FailNext(1, chargetest.Reset().AfterCommit())
					a.server.FailNext(1, chargetest.Status(status).RetryAfter(0))
					c := newClient(t, a.server, func(cfg *chargeclient.Config) { cfg.RetryTimeout = time.Nanosecond })
					_, err := f.send(t.Context(), c, []chargeingest.ChargeEvent{chargetest.Sample(""), chargetest.Sample("")})
					var failed *chargeclient.Error
					require.ErrorAs(t, err, &failed)
					require.Equal(t, status, failed.Status)
					require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
					require.Len(t, a.server.Requests(), 3)
				})
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"none", nil, 0},
		{"seconds", []string{"Retry-After: 7"}, 7 * time.Second},
		{"zero", []string{"Retry-After: 0"}, 0},
		{"a date by the server's clock", []string{"Date: " + at(0), "Retry-After: " + at(90*time.Second)}, 90 * time.Second},
		{"a date in the past", []string{"Date: " + at(0), "Retry-After: " + at(-time.Hour)}, 0},
		{"a date by this clock", []string{"Retry-After: " + time.Date(2000, 1, 1, 0, 0, 30, 0, time.UTC).Format(http.TimeFormat)}, 30 * time.Second},
		{"too many seconds", []string{"Retry-After: 4294967295"}, 5 * time.Minute},
		{"a date too far ahead", []string{"Date: " + at(0), "Retry-After: " + at(24*time.Hour)}, 5 * time.Minute},
		{"negative", []string{"Retry-After: -1"}, 0},
		{"not a number", []string{"Retry-After: soon"}, 0},
		{"more digits than a number has", []string{"Retry-After: 99999999999999999999"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var retry chargeclient.Retry
				attempts := 0
				client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
					if attempts++; attempts > 1 {
						return respond(r, 201, storedSample)
					}
					return respond(r, 503, "", c.headers...)
				}, func(cfg *chargeclient.Config) {
					cfg.RetryTimeout = -1
					cfg.OnRetry = func(r chargeclient.Retry) { retry = r }
				})
				_, _, err := client.Send(t.Context(), chargetest.Sample("a"))
				require.NoError(t, err)
				require.Equal(t, retry.Pause, time.Since(start))
				require.GreaterOrEqual(t, retry.Pause, c.want)
				require.Less(t, retry.Pause, c.want+250*time.Millisecond)
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	bounds := []time.Duration{
		250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
		8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second,
	}
	const clients = 300
	shortest, longest := slices.Clone(bounds), make([]time.Duration, len(bounds))
	for range clients {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
				return nil, io.EOF
			}, func(cfg *chargeclient.Config) {
				cfg.RetryTimeout = -1
				cfg.OnRetry = func(r chargeclient.Retry) {
					require.GreaterOrEqual(t, r.Pause, time.Duration(0))
					require.Less(t, r.Pause, bounds[r.Attempt-1])
					shortest[r.Attempt-1] = min(shortest[r.Attempt-1], r.Pause)
					longest[r.Attempt-1] = max(longest[r.Attempt-1], r.Pause)
					if r.Attempt == len(bounds) {
						cancel()
					}
				}
			})
			_, err := client.Get(ctx, "chda_1")
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	for i, bound := range bounds {
		require.Less(t, shortest[i], bound/4, "no pause of %d is short", clients)
		require.Greater(t, longest[i], bound*3/4, "no pause of %d is long", clients)
	}
}

func TestRetryTimeout(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"default": 0, "another": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				attempts := 0
				client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
					if attempts++; attempts == 1 {
						time.Sleep(time.Minute)
					}
					return respond(r, 503, `{"code":"INTERNAL_ERROR","message":"busy"}`, "Retry-After: 50", "X-Request-Id: id-7")
				}, func(cfg *chargeclient.Config) { cfg.RetryTimeout = timeout })
				_, _, err := client.Send(t.Context(), chargetest.Sample("a"))
				if timeout == 0 {
					timeout = 2 * time.Minute
				}
				require.Equal(t, time.Minute+timeout, time.Since(start), "the last attempt is at the end")
				var failed *chargeclient.Error
				require.ErrorAs(t, err, &failed)
				require.Equal(t, attempts, failed.Attempts)
				require.Equal(t, "id-7", failed.RequestID)
				require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
				require.EqualError(t, err, "response 503 Service Unavailable: INTERNAL_ERROR: busy, request id-7, after "+
					strconv.Itoa(attempts)+" attempts; the events may be stored")
			})
		})
	}
}

func TestCanceledContext(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   chargetest.Fault
		unknown bool
		retries int
	}{
		{"during an attempt", chargetest.Delay(time.Hour), true, 0},
		{"during a pause", chargetest.Status(503).RetryAfter(time.Hour), true, 1},
		{"during a pause after a rejection", chargetest.Status(429).RetryAfter(time.Hour), false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := chargetest.New(t)
				srv.FailNext(1, c.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				var retries []chargeclient.Retry
				_, _, err := newClient(t, srv, func(cfg *chargeclient.Config) {
					cfg.OnRetry = func(r chargeclient.Retry) { retries = append(retries, r) }
				}).Send(ctx, chargetest.Sample("a"))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Len(t, retries, c.retries)
				for _, r := range retries {
					require.NotErrorIs(t, r.Err, context.DeadlineExceeded)
				}
				require.Equal(t, c.unknown, errors.Is(err, chargeingest.ErrOutcomeUnknown))
				require.Equal(t, time.Minute, time.Since(start))
			})
		})
	}
	t.Run("at the end of a pause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx := &lateContext{Context: t.Context()}
			client := newClientOf(t, func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
				func(cfg *chargeclient.Config) { cfg.OnRetry = func(chargeclient.Retry) { ctx.err = context.Canceled } })
			_, _, err := client.Send(ctx, chargetest.Sample("a"))
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
		})
	})
	t.Run("before the first attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := chargetest.New(t)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := newClient(t, srv).SendBatch(ctx, []chargeingest.ChargeEvent{chargetest.Sample("")})
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			require.Empty(t, srv.Requests())
		})
	})
}

type lateContext struct {
	context.Context
	err error
}

func (c *lateContext) Err() error { return c.err }

func TestAttemptTimeout(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"default": 0, "another": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := chargetest.New(t)
				srv.FailNext(1, chargetest.Delay(24*time.Hour).AfterCommit())
				start := time.Now()
				var lost time.Duration
				c := newClient(t, srv, func(cfg *chargeclient.Config) {
					cfg.HTTPClient.Timeout = timeout
					cfg.OnRetry = func(chargeclient.Retry) { lost = time.Since(start) }
				})
				_, replayed, err := c.Send(t.Context(), chargetest.Sample(""))
				require.NoError(t, err)
				require.True(t, replayed)
				if timeout == 0 {
					timeout = 2 * time.Minute
				}
				require.Equal(t, timeout, lost)
				srv.AssertCount(t, 1)
			})
		})
	}
}
