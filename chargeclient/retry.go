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
	minBackoff    = 250 * time.Millisecond // doubled for each attempt
	maxBackoff    = 30 * time.Second
	maxRetryAfter = 5 * time.Minute
)

// do returns an *Error. A request must be a GET or have references or a key.
func (c *Client) do(ctx context.Context, r *request, timeout time.Duration) error {
	var firstFailure time.Time
	unknown := false
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return &Error{Attempts: attempt - 1, cause: err, unknown: unknown}
		}
		failed := c.attempt(ctx, r)
		if failed == nil {
			return nil
		}
		// A later rejection does not prove that nothing was stored.
		unknown = unknown || failed.unknown
		failed.unknown, failed.Attempts = unknown, attempt
		if firstFailure.IsZero() {
			firstFailure = time.Now()
		}
		left := timeout - time.Since(firstFailure)
		isLast := attempt == c.cfg.MaxAttempts || timeout >= 0 && left <= 0
		if !failed.retryable || ctx.Err() != nil || isLast {
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
			ended := *failed // OnRetry may keep failed
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

func pauseAfter(e *Error) time.Duration {
	backoff := min(minBackoff<<min(e.Attempts-1, 16), maxBackoff)
	return min(e.RetryAfter, maxRetryAfter) + rand.N(backoff) //nolint:gosec // no secret
}

func isRetryable(status int, h http.Header) bool {
	header := h.Get("Idempotency-Retryable")
	switch {
	case header == "false":
		return false
	case header == "true" && status >= http.StatusInternalServerError:
		return true
	}
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func isPermanent(err error) bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(err, &untrusted) || errors.Is(err, http.ErrSchemeMismatch)
}

func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// Clocks differ.
	if sent, err := http.ParseTime(h.Get("Date")); err == nil {
		now = sent
	}
	return max(0, date.Sub(now))
}
