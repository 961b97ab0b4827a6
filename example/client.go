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

// Bounds of the waiting between attempts.
const (
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
)

// patience is how long a request is tried again that gets no answer.
const patience = 2 * time.Minute

// client sends requests to a charge event server, again where that can help.
// Every request of it may be repeated: it is a GET or has an Idempotency-Key.
type client struct {
	base   *url.URL
	apiKey string
	http   *http.Client
	now    func() time.Time
	sleep  func(context.Context, time.Duration) error

	// notice is told why a request is tried again.
	notice func(text string)
}

// clientOptions are the options that load and tail have in common.
func clientOptions(c *client) []option {
	return []option{
		{"url", "CHARGEINGEST_URL", "URL", "http://127.0.0.1:8080",
			"where the server is, with the prefix that the endpoints are mounted under, if any.\n" +
				"SSL_CERT_FILE names a file of certificates to trust, for a server with one of its own", baseURL(&c.base)},
		{"api-key", "CHARGEINGEST_API_KEY", "KEY", "",
			"the API key, required; others can read a command line, so the variable is the better place", secret(&c.apiKey)},
	}
}

// newClient returns a client without the values of its options.
func (p *program) newClient() *client {
	return &client{
		now: p.now, sleep: p.sleep, notice: p.complain,
		http: &http.Client{
			// More than the server takes at most for a request.
			Timeout: 2 * time.Minute,
			// An API key goes nowhere but where it was told to go.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// request is one request, whole, so that it can be sent again.
type request struct {
	method string
	path   string // below the base
	query  url.Values
	header map[string]string
	body   []byte
}

// answer is a 2xx.
type answer struct {
	header http.Header
	body   []byte
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	header http.Header

	Code    string      `json:"code"`
	Message string      `json:"message"`
	Field   string      `json:"field"`
	Errors  []violation `json:"errors"`
}

// violation is a rule that a request breaks.
type violation struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (r *refusal) Error() string {
	text := fmt.Sprintf("the server answered %d %s", r.status, http.StatusText(r.status))
	if r.Message != "" {
		text += ": " + r.Message
	}
	return text
}

// do sends a request until it is answered, for good or bad, or patience has
// passed since the first attempt failed; a patience of 0 has no end. The error
// is a *refusal where there was an answer.
func (c *client) do(ctx context.Context, r request, patience time.Duration) (*answer, error) {
	var failing time.Time
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		a, err := c.attempt(ctx, r)
		if err == nil {
			return a, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !isPassing(err) {
			return nil, err
		}
		if failing.IsZero() {
			failing = c.now()
		}
		wait := min(max(pause, askedWait(err, c.now())), longestPause)
		if patience > 0 {
			left := patience - c.now().Sub(failing)
			if left <= 0 {
				return nil, fmt.Errorf("given up after %s: %w", patience, err)
			}
			wait = min(wait, left)
		}
		c.notice(fmt.Sprintf("%v; trying again in %s", err, wait.Round(100*time.Millisecond)))
		if err := c.sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// attempt sends a request once.
func (c *client) attempt(ctx context.Context, r request) (*answer, error) {
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Api-Key", c.apiKey)
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
		return nil, fmt.Errorf("the answer did not arrive whole: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return &answer{header: res.Header, body: body}, nil
	}
	e := &refusal{status: res.StatusCode, header: res.Header}
	if json.Unmarshal(body, e) != nil {
		// Not from the endpoint, such as a proxy's page: the status says it all.
		*e = refusal{status: res.StatusCode, header: res.Header}
	}
	return nil, e
}

// isPassing says that a request that failed may succeed when it is sent again.
func isPassing(err error) bool {
	var r *refusal
	if !errors.As(err, &r) {
		// No answer: the network, or a server that is being restarted. What
		// TLS objects to stays the same.
		var untrusted *tls.CertificateVerificationError
		return !errors.As(err, &untrusted) && !errors.Is(err, http.ErrSchemeMismatch)
	}
	if r.header.Get("Idempotency-Retryable") == "false" {
		return false
	}
	switch r.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// askedWait is how long the server asked to wait, or 0.
func askedWait(err error, now time.Time) time.Duration {
	var r *refusal
	if !errors.As(err, &r) {
		return 0
	}
	after := r.header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	date, err := http.ParseTime(after)
	if err != nil {
		return 0
	}
	// By the clock that the date is of, which may not be ours.
	if sent, err := http.ParseTime(r.header.Get("Date")); err == nil {
		now = sent
	}
	return date.Sub(now)
}
