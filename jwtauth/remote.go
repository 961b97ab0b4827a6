package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.com/chargeingest/internal/panics"
)

const (
	// fetchTimeout is how long a fetch may take, with its body.
	fetchTimeout = 5 * time.Second

	// maxWaiting bounds the requests that wait for one fetch, each of which
	// keeps a connection and a goroutine for that long.
	maxWaiting = 256

	// maxSeen bounds the tokens that are remembered between two fetches.
	maxSeen = 1024

	// maxErrorBytes bounds what is kept of an error of the Transport's. Some quote
	// megabytes of an answer, and each request that is refused for it logs it.
	maxErrorBytes = 200
)

var (
	errNotFetchedYet = errors.New("the first fetch has not ended yet")
	errTooManyWait   = fmt.Errorf("a fetch is under way, and too many requests wait for it: %d", maxWaiting)
	errTooLate       = fmt.Errorf("there was no whole answer within %s", fetchTimeout)
	errExited        = errors.New("the Transport ended the goroutine of the fetch")
	errEnded         = errors.New("the context that New was given has ended")
)

// errSuppressed is for a token that no known key verifies, while it is too early for
// another fetch.
var errSuppressed = errors.New("jwtauth: no known key verifies the token, which may be of a new one, and the next fetch of keys is not due yet")

// laterError is an error that is over by a certain time.
type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// RetryAfter is when the same request may succeed, see [chargeingest.Authorizer].
func (e *laterError) RetryAfter() time.Duration { return e.after }

// unavailableError says that the keys could not be fetched.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string {
	return "jwtauth: the keys that tokens are verified with could not be fetched: " + e.err.Error()
}
func (e *unavailableError) Unwrap() error { return e.err }

// remoteKeys are the keys behind a JWKS URL. One fetch at most is under way at
// a time. A request that needs one waits for its end, or its own; a fetch does
// not end with a request that waits for it.
type remoteKeys struct {
	url        string
	transport  http.RoundTripper // no http.Client, which follows redirects, and quotes them and the URL
	algorithms []string
	refresh    time.Duration // from one fetch to the next
	pause      time.Duration // from one fetch to the next that something else asks for
	logger     *slog.Logger
	ctx        context.Context // of the fetches

	current atomic.Pointer[keySet] // without keys before the first fetch that succeeded

	mu      sync.Mutex
	running *fetch // nil where none is under way
	last    *fetch // the last that ended, or nil
	begun   int    // how many began

	// seen has the tokens that no key verified since the last fetch began, by how
	// many fetches had begun when each was first seen; seenBefore is seen as it was
	// when that fetch began. A token that was told to come back is found here, and
	// the fetch that it waited for decides about it.
	seen, seenBefore map[tokenHash]int
}

// fetch is one fetch.
type fetch struct {
	done    chan struct{} // closed at its end
	waiting int           // how many requests wait for that
	number  int           // from 1, in the order of their beginning
	began   time.Time
	ended   time.Time // from then on
	err     error     // from then on
}

// startRemoteKeys starts the fetch of the keys, and the refresh that ctx ends.
func startRemoteKeys(ctx context.Context, cfg Config) *remoteKeys {
	k := &remoteKeys{
		url: cfg.JWKSURL, transport: cfg.Transport, algorithms: cfg.Algorithms, logger: cfg.Logger, ctx: ctx,
		refresh: cfg.RefreshInterval, pause: cfg.MinFetchInterval, seen: make(map[tokenHash]int),
	}
	k.current.Store(new(keySet))
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
		k.begun++
		k.running = &fetch{done: make(chan struct{}), number: k.begun, began: time.Now()}
		k.seen, k.seenBefore = make(map[tokenHash]int), k.seen
		go k.run(k.running)
	}
	return k.running
}

// known implements keySource.
func (k *remoteKeys) known() *keySet { return k.current.Load() }

// renewed implements keySource. It begins a fetch unless one is under way, or the
// last one ended less than a pause ago.
func (k *remoteKeys) renewed(ctx context.Context, token tokenHash) (*keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	first := k.firstSeen(token)
	if k.running == nil && k.last != nil && time.Since(k.last.ended) < k.pause {
		return k.known(), k.stale(k.last, first)
	}
	f := k.beginLocked()
	if f.waiting == maxWaiting {
		return k.known(), &laterError{&unavailableError{errTooManyWait}, fetchTimeout - time.Since(f.began)}
	}
	f.waiting++
	k.mu.Unlock()
	select {
	case <-f.done:
		k.mu.Lock()
		return k.known(), k.stale(f, first)
	case <-ctx.Done():
		k.mu.Lock()
		f.waiting--
		return k.known(), fmt.Errorf("jwtauth: the request ended while it waited for keys: %w", ctx.Err())
	}
}

// firstSeen returns how many fetches had begun when a token was first seen. It
// forgets a token that was not seen again between two fetches, and takes a token
// that is one too many for a new one.
func (k *remoteKeys) firstSeen(token tokenHash) int {
	first, ok := k.seen[token]
	if ok {
		return first
	}
	if first, ok = k.seenBefore[token]; !ok {
		first = k.begun
	}
	if len(k.seen) < maxSeen {
		k.seen[token] = first
	}
	return first
}

// stale returns why a fetch that ended cannot decide about a token that was first
// seen after so many had begun, or nil if it can.
func (k *remoteKeys) stale(f *fetch, first int) error {
	wait := k.pause - time.Since(f.ended)
	switch {
	case f.err != nil:
		return &laterError{&unavailableError{f.err}, wait}
	case f.number <= first:
		return &laterError{errSuppressed, wait}
	}
	return nil
}

// ready implements keySource.
func (k *remoteKeys) ready() error {
	k.mu.Lock()
	defer k.mu.Unlock() // a fetch that ends meanwhile is seen whole, or not at all
	switch {
	case len(k.known().keys) > 0:
		return nil
	case k.last == nil:
		return &unavailableError{errNotFetchedYet}
	}
	return &unavailableError{k.last.err}
}

// run is the goroutine of a fetch. A fetch that fails keeps the keys. Requests wait
// for the end of f and the next fetch begins after it, so that f ends whatever the
// host's code does.
func (k *remoteKeys) run(f *fetch) {
	old := k.known()
	set, err := k.getInTime()
	if err == nil && set.digest == old.digest {
		set = old
	}
	defer k.end(f, set, err)
	k.report(old, set, err)
}

// end ends a fetch.
func (k *remoteKeys) end(f *fetch, set *keySet, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.current.Store(set)
	}
	f.err, f.ended = err, time.Now()
	k.running, k.last = nil, f
	close(f.done)
}

// report logs the outcome of a fetch. A panic of the logger is dropped: there is
// nothing else to report it to.
func (k *remoteKeys) report(old, set *keySet, err error) {
	defer func() { _ = recover() }()
	switch {
	case k.ctx.Err() != nil: // the service ends
	case err != nil:
		k.logger.Warn("the keys of tokens could not be fetched", "error", err, "have_keys", len(old.keys) > 0)
	case set != old:
		k.logger.Info("the keys of tokens are new", "keys", len(set.keys), "ignored", set.ignored)
	}
}

// getInTime is get with a time limit, which holds for a Transport too that does
// not heed its context. What such a one brings later is dropped.
func (k *remoteKeys) getInTime() (*keySet, error) {
	ctx, cancel := context.WithTimeout(k.ctx, fetchTimeout)
	defer cancel()
	type result struct {
		set *keySet
		err error
	}
	got := make(chan result, 1) // so that a late one does not block
	go func() {
		r := result{err: errExited}
		defer func() { got <- r }()
		r.set, r.err = k.get(ctx)
	}()
	r := result{err: errTooLate}
	select {
	case r = <-got:
	case <-ctx.Done():
	}
	switch {
	case r.err == nil:
		return r.set, nil
	case k.ctx.Err() != nil:
		return nil, errEnded
	case ctx.Err() != nil:
		return nil, errTooLate
	}
	return nil, r.err
}

// get fetches the key set.
func (k *remoteKeys) get(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	set, err := k.send(req)
	if errors.As(err, new(panics.Error)) {
		err = brief(err, req.URL)
	}
	return set, err
}

// send sends the request and reads the response. A status other than 200 is an
// error, so that no redirect is followed: keys come from the configured URL alone.
// The Transport, the response's body and their errors are the host's, and
// may panic.
func (k *remoteKeys) send(req *http.Request) (set *keySet, err error) {
	defer panics.RecoverTo(&err)
	res, err := k.transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, brief(err, req.URL)
	case res == nil || res.Body == nil:
		return nil, errors.New("the Transport returned no answer")
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d, not 200", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, fmt.Errorf("the answer did not arrive whole: %w", brief(err, req.URL))
	}
	if len(body) > maxSetBytes {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxSetBytes)
	}
	return parseKeySet(body, k.algorithms)
}

// brief is an error in a text that a log line can bear, without the query of the
// URL, which can be secret. It does not wrap err, whose text would be kept.
func brief(err error, u *url.URL) error {
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
