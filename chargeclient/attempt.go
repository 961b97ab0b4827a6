package chargeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

const (
	maxResponseBytes = 32 << 20 // besides twice the bytes sent
	maxErrorBytes    = 64 << 10
)

type request struct {
	path  string
	query url.Values
	body  []byte
	key   string

	platform string // instead of Config.Platform

	// decode fails if the text is not valid JSON.
	decode func(h http.Header, body []byte) error
}

var errNotEndpoint = errors.New("this is not a response of the charge event endpoint: check the URL and the proxies in between")

func (c *Client) attempt(ctx context.Context, r *request) *Error {
	var connecting, connected atomic.Bool
	req, err := c.newRequest(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connecting.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), r)
	if err != nil {
		return &Error{cause: c.hideIn(err)}
	}
	res, err := c.http.Do(req)
	if err != nil {
		permanent := isPermanent(err)
		nothingSent := permanent || connecting.Load() && !connected.Load()
		return &Error{cause: c.hideIn(err), unknown: r.body != nil && !nothingSent, retryable: !permanent}
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBytes))
		e := c.errorOf(res, text)
		e.unknown = r.body != nil && (e.Status >= http.StatusInternalServerError || e.Status == http.StatusRequestTimeout)
		if e.Status < http.StatusBadRequest {
			e.cause = errors.New("the client does not follow redirects: check the URL")
		}
		return e
	}
	retryable, err := c.readSuccess(r, res)
	if err == nil {
		return nil
	}
	e := &Error{cause: c.hideIn(err), unknown: r.body != nil, retryable: retryable}
	if !retryable {
		e.Status, e.RequestID = res.StatusCode, c.requestID(res)
	}
	return e
}

func (c *Client) newRequest(ctx context.Context, r *request) (*http.Request, error) {
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	if r.body == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err == nil {
			req.Header = maps.Clone(c.header)
		}
		return req, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	// Otherwise net/http would retry by itself and hide a lost response.
	req.GetBody = nil
	req.Header = maps.Clone(c.header)
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if r.platform != "" {
		req.Header.Set("X-Platform-Id", r.platform)
	}
	return req, nil
}

// readSuccess decodes a 2xx response. Another service's is not retryable.
func (c *Client) readSuccess(r *request, res *http.Response) (retryable bool, err error) {
	limit := int64(maxResponseBytes + 2*len(r.body))
	text, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	wanted := http.StatusOK
	if r.body != nil {
		wanted = http.StatusCreated
	}
	switch {
	case res.StatusCode != wanted || mediaType != "application/json":
		return false, errNotEndpoint
	case err != nil:
		return true, fmt.Errorf("incomplete response: %w", err)
	case int64(len(text)) > limit:
		return false, fmt.Errorf("the response is larger than %d bytes", limit)
	}
	if err := r.decode(res.Header, text); err != nil {
		if !json.Valid(text) {
			return true, errors.New("the response is not valid JSON")
		}
		return false, err
	}
	return false, nil
}

func (c *Client) hideIn(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		err = withURL.Err
	}
	if text := err.Error(); strings.Contains(text, c.cfg.APIKey+c.cfg.Token) {
		return errors.New(c.hide(text))
	}
	return err
}
