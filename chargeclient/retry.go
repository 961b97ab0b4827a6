package chargeclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	minBackoff    = 250 * time.Millisecond // bound of the first pause, doubled for each further one
	maxBackoff    = 30 * time.Second
	maxRetryAfter = 5 * time.Minute
)

// do sends a request until it succeeds, fails for good, or was retried for timeout, if that
// is not negative. The error is an *Error.
//
// Every request is a GET, or has a reference in each event or an idempotency key. So it can
// be repeated unless the server objects.
func (c *Client) do(ctx context.Context, r *request, timeout time.Duration) error {
	var firstFailure time.Time
	unknown := false
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return &Error{Attempts: attempt - 1, cause: err}
		}
		failed := c.attempt(ctx, r)
		if failed == nil {
			return nil
		}
		// After an attempt that may have stored the events, no other response proves that it
		// did not.
		unknown = unknown || failed.unknown
		failed.unknown, failed.Attempts = unknown, attempt
		if firstFailure.IsZero() {
			firstFailure = time.Now()
		}
		left := timeout - time.Since(firstFailure)
		if !failed.retryable || ctx.Err() != nil || timeout >= 0 && left <= 0 {
			return failed
		}
		pause := pauseAfter(failed)
		if timeout >= 0 {
			pause = min(pause, left)
		}
		if c.cfg.OnRetry != nil {
			c.cfg.OnRetry(Retry{failed, attempt, pause})
		}
		if err := sleep(ctx, pause); err != nil {
			ended := *failed // OnRetry has the other one
			ended.cause = err
			if failed.cause != nil {
				ended.cause = fmt.Errorf("%w after %w", err, failed.cause)
			}
			return &ended
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseAfter returns a random pause, so that clients do not return at the same time.
func pauseAfter(e *Error) time.Duration {
	backoff := min(minBackoff<<min(e.Attempts-1, 16), maxBackoff)
	return min(e.retryAfter, maxRetryAfter) + rand.N(backoff) //nolint:gosec // a pause is no secret
}

func isRetryable(status int, h http.Header) bool {
	switch h.Get("Idempotency-Retryable") {
	case "false":
		return false
	case "true":
		return status >= http.StatusInternalServerError
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isPermanent reports whether a failed connection is a mistake in the configuration.
func isPermanent(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(err, &untrusted) || errors.Is(err, http.ErrSchemeMismatch)
}

// retryAfter returns the pause that a response demands, or 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The server's clock can differ from this one.
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return max(0, date.Sub(now))
}
