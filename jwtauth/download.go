package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/chargeingest/internal/panics"
)

const (
	fetchTimeout = 5 * time.Second // body included

	maxErrorBytes = 200 // errors of a Transport can quote megabytes
)

var (
	errFetchTimeout = fmt.Errorf("no complete response within %s", fetchTimeout)
	errGoexit       = errors.New("the Transport ended the goroutine of the fetch")
	errShutdown     = errors.New("the context passed to New has ended")
)

// The Transport may ignore its context.
func (k *remoteKeys) downloadWithTimeout() (*keySet, error) {
	ctx, cancel := context.WithTimeout(k.ctx, fetchTimeout)
	defer cancel()
	type result struct {
		set *keySet
		err error
	}
	results := make(chan result, 1) // a late result must not block
	go func() {
		r := result{err: errGoexit}
		defer func() { results <- r }()
		r.set, r.err = k.download(ctx)
	}()
	r := result{err: errFetchTimeout}
	select {
	case r = <-results:
	case <-ctx.Done():
	}
	switch {
	case r.err == nil:
		return r.set, nil
	case k.ctx.Err() != nil:
		return nil, errShutdown
	case ctx.Err() != nil:
		return nil, errFetchTimeout
	}
	return nil, r.err
}

func (k *remoteKeys) download(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	set, err := k.send(req)
	if errors.As(err, new(panics.Error)) {
		err = shortError(err, req.URL)
	}
	return set, err
}

// send does not follow redirects. The Transport, the body and their errors may panic.
func (k *remoteKeys) send(req *http.Request) (set *keySet, err error) {
	defer panics.RecoverTo(&err)
	res, err := k.transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, shortError(err, req.URL)
	case res == nil || res.Body == nil:
		return nil, errors.New("the Transport returned no response")
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the response status is %d, not 200", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the response is incomplete: %w", shortError(err, req.URL))
	}
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("the response has more than %d bytes", maxSetBytes)
	}
	return parseKeySet(body, k.algorithms)
}

// shortError omits the query of the URL, which can be secret, and does not keep the long
// text.
func shortError(err error, u *url.URL) error {
	var in *url.Error
	for errors.As(err, &in) && in.Err != nil {
		err = in.Err
	}
	text := err.Error()
	if u.RawQuery != "" {
		text = strings.ReplaceAll(text, "?"+u.RawQuery, "?…")
	}
	if len(text) > maxErrorBytes {
		text = text[:maxErrorBytes] + "…"
	}
	return errors.New(strings.ToValidUTF8(text, ""))
}
