package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxWaiters = 256  // per fetch
	maxSeen    = 1024 // tokens remembered between two fetches
)

var (
	errFirstFetchRunning = errors.New("the first fetch has not finished yet")
	errTooManyWaiters    = fmt.Errorf("too many requests wait for the fetch: %d", maxWaiters)

	errFetchNotDue = errors.New("jwtauth: no known key verifies the token, and the next fetch of the JWKS is not due yet")
)

type retryLaterError struct {
	err   error
	after time.Duration
}

func (e *retryLaterError) Error() string { return e.err.Error() }
func (e *retryLaterError) Unwrap() error { return e.err }

func (e *retryLaterError) RetryAfter() time.Duration { return e.after }

type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return "jwtauth: fetch JWKS: " + e.err.Error() }
func (e *unavailableError) Unwrap() error { return e.err }

// remoteKeys are the keys of a JWKS URL. A fetch continues if a request stops waiting.
type remoteKeys struct {
	url             string
	transport       http.RoundTripper // not an http.Client, which follows and quotes redirects
	algorithms      []string
	refreshInterval time.Duration
	minInterval     time.Duration
	logger          *slog.Logger
	ctx             context.Context

	keys atomic.Pointer[keySet] // empty until a fetch has succeeded

	mu      sync.Mutex
	running *fetch // or nil
	last    *fetch // the last one that ended, or nil
	started int

	// seen maps the tokens that no key verified since the last fetch began to started when they
	// were first seen. With seenBefore, the previous seen, a retry is decided by the fetch that
	// it waited for.
	seen, seenBefore map[tokenHash]int
}

type fetch struct {
	done    chan struct{}
	waiters int
	number  int
	began   time.Time

	ended time.Time
	err   error
}

func startRemoteKeys(ctx context.Context, cfg Config) *remoteKeys {
	k := &remoteKeys{
		url: cfg.JWKSURL, transport: cfg.Transport, algorithms: cfg.Algorithms, logger: cfg.Logger, ctx: ctx,
		refreshInterval: cfg.RefreshInterval, minInterval: cfg.MinFetchInterval, seen: make(map[tokenHash]int),
	}
	k.keys.Store(new(keySet))
	go k.refreshLoop(ctx, k.startFetch())
	return k
}

func (k *remoteKeys) refreshLoop(ctx context.Context, f *fetch) {
	for {
		<-f.done
		wait := k.refreshInterval
		if f.err != nil {
			wait = k.minInterval
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			f = k.startFetch()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (k *remoteKeys) startFetch() *fetch {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.startFetchLocked()
}

func (k *remoteKeys) startFetchLocked() *fetch {
	if k.running == nil {
		k.started++
		k.running = &fetch{done: make(chan struct{}), number: k.started, began: time.Now()}
		k.seen, k.seenBefore = make(map[tokenHash]int), k.seen
		go k.run(k.running)
	}
	return k.running
}

func (k *remoteKeys) current() *keySet { return k.keys.Load() }

func (k *remoteKeys) refreshed(ctx context.Context, token tokenHash) (*keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	startedBefore := k.fetchesBefore(token)
	if k.running == nil && k.last != nil && time.Since(k.last.ended) < k.minInterval {
		return k.current(), k.inconclusive(k.last, startedBefore)
	}
	f := k.startFetchLocked()
	if f.waiters == maxWaiters {
		return k.current(), &retryLaterError{&unavailableError{errTooManyWaiters}, fetchTimeout - time.Since(f.began)}
	}
	f.waiters++
	k.mu.Unlock()
	select {
	case <-f.done:
		k.mu.Lock()
		return k.current(), k.inconclusive(f, startedBefore)
	case <-ctx.Done():
		k.mu.Lock()
		f.waiters--
		return k.current(), fmt.Errorf("jwtauth: the request ended while it waited for keys: %w", ctx.Err())
	}
}

func (k *remoteKeys) fetchesBefore(token tokenHash) int {
	started, ok := k.seen[token]
	if ok {
		return started
	}
	if started, ok = k.seenBefore[token]; !ok {
		started = k.started
	}
	if len(k.seen) < maxSeen {
		k.seen[token] = started
	}
	return started
}

// inconclusive returns an error unless the ended fetch f decides about a token that was first
// seen after startedBefore fetches.
func (k *remoteKeys) inconclusive(f *fetch, startedBefore int) error {
	wait := k.minInterval - time.Since(f.ended)
	switch {
	case f.err != nil:
		return &retryLaterError{&unavailableError{f.err}, wait}
	case f.number <= startedBefore:
		return &retryLaterError{errFetchNotDue, wait}
	}
	return nil
}

func (k *remoteKeys) ready() error {
	k.mu.Lock() // keys and last must be of the same fetch
	defer k.mu.Unlock()
	switch {
	case len(k.current().keys) > 0:
		return nil
	case k.last == nil:
		return &unavailableError{errFirstFetchRunning}
	}
	return &unavailableError{k.last.err}
}

// Requests and the next fetch wait for f, so run must end even if the Transport or the Logger
// panics.
func (k *remoteKeys) run(f *fetch) {
	old := k.current()
	set, err := k.downloadWithTimeout()
	if err == nil && set.digest == old.digest {
		set = old
	}
	defer k.finish(f, set, err)
	k.logResult(old, set, err)
}

func (k *remoteKeys) finish(f *fetch, set *keySet, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.keys.Store(set)
	}
	f.err, f.ended = err, time.Now()
	k.running, k.last = nil, f
	close(f.done)
}

func (k *remoteKeys) logResult(old, set *keySet, err error) {
	defer func() { _ = recover() }()
	switch {
	case k.ctx.Err() != nil: // the service is shutting down
	case err != nil:
		k.logger.Warn("JWKS fetch failed", "error", err, "have_keys", len(old.keys) > 0)
	case set != old:
		k.logger.Info("JWKS changed", "keys", len(set.keys), "ignored", set.ignored)
	}
}
