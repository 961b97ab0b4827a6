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

	"example.com/chargeingest/internal/trace"
)

const (
	// fetchTimeout is how long a fetch may take, with its body.
	fetchTimeout = 5 * time.Second

	// maxWaiting bounds the requests that wait for one fetch, each of which
	// keeps a connection and a goroutine for that long.
	maxWaiting = 256

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

// unavailableError says that there are no keys, or none fresh enough, to answer
// with.
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
}

// fetch is one fetch.
type fetch struct {
	done    chan struct{} // closed at its end
	waiting int           // how many requests wait for that
	ended   time.Time     // from then on
	set     *keySet       // from then on; the same as before, where nothing has changed
	err     error         // from then on
}

// startRemoteKeys starts the fetch of the keys, and the refresh that ctx ends.
func startRemoteKeys(ctx context.Context, cfg Config) *remoteKeys {
	k := &remoteKeys{
		url: cfg.JWKSURL, transport: cfg.Transport, algorithms: cfg.Algorithms, logger: cfg.Logger, ctx: ctx,
		refresh: cfg.RefreshInterval, pause: cfg.MinFetchInterval,
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
		k.running = &fetch{done: make(chan struct{})}
		go k.run(k.running)
	}
	return k.running
}

// known implements keySource.
func (k *remoteKeys) known() *keySet { return k.current.Load() }

// renewed implements keySource. A fetch is fresh for a pause after its end; it
// begins one where none is.
func (k *remoteKeys) renewed(ctx context.Context) (*keySet, error) {
	k.mu.Lock()
	if k.running == nil && k.last != nil && time.Since(k.last.ended) < k.pause {
		defer k.mu.Unlock()
		return k.last.result()
	}
	f := k.beginLocked()
	if f.waiting == maxWaiting {
		k.mu.Unlock()
		return nil, &unavailableError{errTooManyWait}
	}
	f.waiting++
	k.mu.Unlock()
	select {
	case <-f.done:
		return f.result()
	case <-ctx.Done():
		k.mu.Lock()
		defer k.mu.Unlock()
		f.waiting--
		return nil, fmt.Errorf("jwtauth: the request ended while it waited for keys: %w", ctx.Err())
	}
}

// result is what came of a fetch that ended.
func (f *fetch) result() (*keySet, error) {
	if f.err != nil {
		return nil, &unavailableError{f.err}
	}
	return f.set, nil
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
	f.set, f.err, f.ended = set, err, time.Now()
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
	if errors.As(err, new(trace.PanicError)) {
		err = brief(err, req.URL)
	}
	return set, err
}

// send sends the request and reads the response. A status other than 200 is an
// error, so that no redirect is followed: keys come from the configured URL alone.
// The Transport, the response's body and their errors are the host's, and
// may panic.
func (k *remoteKeys) send(req *http.Request) (set *keySet, err error) {
	defer trace.RecoverTo(&err)
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
