package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	minPause     = 250 * time.Millisecond // between attempts
	maxPause     = 30 * time.Second
	retryTimeout = 2 * time.Minute
)

// client retries its requests. Each is a GET or has an idempotency key.
type client struct {
	clientConfig
	http     *http.Client
	now      func() time.Time
	sleep    func(context.Context, time.Duration) error
	logRetry func(text string)
}

// newOldClient returns a client that passes a message about each retry to logRetry.
func (p *program) newOldClient(c clientConfig, logRetry func(string)) *client {
	return &client{
		clientConfig: c, now: p.now, sleep: p.sleep, logRetry: logRetry,
		http: &http.Client{
			Timeout: 2 * time.Minute, // longer than the server's own timeouts
			// A redirect would send the API key to another URL.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

type request struct {
	method string
	path   string
	query  url.Values
	header map[string]string
	body   []byte
}

type response struct {
	header http.Header
	body   []byte
}

type statusError struct {
	status int
	header http.Header

	Code    string      `json:"code"`
	Message string      `json:"message"`
	Field   string      `json:"field"`
	Errors  []violation `json:"errors"`
}

type violation struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server responded with %d %s", e.status, http.StatusText(e.status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// do retries until timeout has passed since the first failure, or without limit if timeout is
// 0. The error wraps a *statusError if there was a response.
func (c *client) do(ctx context.Context, r request, timeout time.Duration) (*response, error) {
	var firstFailure time.Time
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		res, err := c.attempt(ctx, r)
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !isRetryable(err) {
			return nil, err
		}
		if firstFailure.IsZero() {
			firstFailure = c.now()
		}
		wait := min(max(pause, retryAfter(err, c.now())), maxPause)
		if timeout > 0 {
			left := timeout - c.now().Sub(firstFailure)
			if left <= 0 {
				return nil, fmt.Errorf("gave up after %s: %w", timeout, err)
			}
			wait = min(wait, left)
		}
		c.logRetry(fmt.Sprintf("%v; retrying in %s", err, wait.Round(100*time.Millisecond)))
		if err := c.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func (c *client) attempt(ctx context.Context, r request) (*response, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	u = u.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	} else {
		req.Header.Set("X-Api-Key", c.APIKey)
	}
	if c.Platform != "" {
		req.Header.Set("X-Platform-Id", c.Platform)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("incomplete response: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return &response{header: res.Header, body: body}, nil
	}
	e := &statusError{status: res.StatusCode, header: res.Header}
	if json.Unmarshal(body, e) != nil {
		// For example the error page of a proxy.
		*e = statusError{status: res.StatusCode, header: res.Header}
	}
	return nil, e
}

func isRetryable(err error) bool {
	var e *statusError
	if !errors.As(err, &e) {
		// The network failed, or the server restarts. TLS mismatches are permanent.
		var untrusted *tls.CertificateVerificationError
		return !errors.As(err, &untrusted) && !errors.Is(err, http.ErrSchemeMismatch)
	}
	if e.header.Get("Idempotency-Retryable") == "false" {
		return false
	}
	switch e.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func retryAfter(err error, now time.Time) time.Duration {
	var e *statusError
	if !errors.As(err, &e) {
		return 0
	}
	after := e.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(after)
	if err != nil {
		return 0
	}
	// Prefer the server's clock, which may differ from ours.
	if sent, err := http.ParseTime(e.header.Get("Date")); err == nil {
		now = sent
	}
	return date.Sub(now)
}
