package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// fetchTimeout is how long a fetch may take, with its body.
const fetchTimeout = 5 * time.Second

var errNotFetchedYet = errors.New("the first fetch has not ended yet")

// remoteKeys are the keys behind a JWKS URL. One fetch at most is under way at
// a time. A request that needs one waits for its end, or its own; a fetch does
// not end with a request that waits for it.
type remoteKeys struct {
	url        string
	client     *http.Client
	algorithms []string
	refresh    time.Duration // from one fetch to the next
	pause      time.Duration // from one fetch to the next that something else asks for
	logger     *slog.Logger
	ctx        context.Context // of the fetches

	current atomic.Pointer[keySet] // nil before the first fetch that succeeded

	mu      sync.Mutex
	running *fetch // nil where none is under way
	last    *fetch // the last that ended, or nil
}

// fetch is one fetch.
type fetch struct {
	done  chan struct{} // closed at its end
	ended time.Time     // from then on
	err   error         // from then on
}

// startRemoteKeys starts the fetch of the keys, and the refresh that ctx ends.
func startRemoteKeys(ctx context.Context, cfg Config) *remoteKeys {
	k := &remoteKeys{
		url: cfg.JWKSURL, algorithms: cfg.Algorithms, logger: cfg.Logger, ctx: ctx,
		refresh: cfg.RefreshInterval, pause: cfg.MinFetchInterval,
		client: &http.Client{
			Transport: cfg.Transport,
			// Keys come from where the configuration says, and over nothing less.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go k.refreshUntil(ctx, k.begin())
	return k
}

func (k *remoteKeys) refreshUntil(ctx context.Context, f *fetch) {
	for {
		<-f.done // no later than ctx
		wait := k.refresh
		if f.err != nil {
			wait = k.pause
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			f = k.begin()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// begin begins a fetch, or returns the one that is under way.
func (k *remoteKeys) begin() *fetch {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.beginLocked()
}

func (k *remoteKeys) beginLocked() *fetch {
	if k.running == nil {
		k.running = &fetch{done: make(chan struct{})}
		go k.run(k.running)
	}
	return k.running
}

// find implements keySource.
func (k *remoteKeys) find(ctx context.Context, id string) ([]Key, error) {
	if set := k.current.Load(); set != nil {
		if found := set.named(id); len(found) > 0 {
			return found, nil
		}
	}
	if err := k.renew(ctx); err != nil {
		return nil, &unavailableError{err}
	}
	return k.current.Load().find(ctx, id)
}

// renew returns once the keys are those of a fetch that ended no longer than a
// pause ago, which it begins where it has to. The error is that of the fetch or
// of ctx.
func (k *remoteKeys) renew(ctx context.Context) error {
	k.mu.Lock()
	f := k.running
	if f == nil && k.last != nil && time.Since(k.last.ended) < k.pause {
		f = k.last
	}
	if f == nil {
		f = k.beginLocked()
	}
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ready implements keySource.
func (k *remoteKeys) ready() error {
	if k.current.Load() != nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		return &unavailableError{errNotFetchedYet}
	}
	return &unavailableError{k.last.err}
}

// run is the goroutine of a fetch. Keys stay where it fails.
func (k *remoteKeys) run(f *fetch) {
	set, err := k.get()
	old := k.current.Load()
	switch {
	case k.ctx.Err() != nil: // the service ends
	case err != nil:
		k.logger.Warn("the keys of tokens could not be fetched", "error", err, "have_keys", old != nil)
	case old == nil || old.digest != set.digest:
		k.logger.Info("the keys of tokens are new", "keys", len(set.keys), "ignored", set.ignored)
	}
	if err == nil {
		k.current.Store(set)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	f.err, f.ended = err, time.Now()
	k.running, k.last = nil, f
	close(f.done)
}

// get fetches the key set. Its errors do not hold the URL, whose query can be
// secret.
func (k *remoteKeys) get() (*keySet, error) {
	ctx, cancel := context.WithTimeout(k.ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil) //nolint:gosec // the host names the URL
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.client.Do(req) //nolint:gosec // the host names the URL
	if err != nil {
		var in *url.Error
		if errors.As(err, &in) {
			err = in.Err
		}
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d, not 200", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the answer did not arrive whole: %w", err)
	}
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxSetBytes)
	}
	return parseKeySet(body, k.algorithms)
}
