package chargeingest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestRetryHeaders(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	one, two := event(`"reference":"r-1"`), event(`"reference":"r-2"`)
	const cause = "connection reset"
	unknown := errors.New(cause)
	wrap := func(sentinel error) error { return fmt.Errorf("%s: %w", cause, sentinel) }
	for _, c := range []struct {
		name       string
		err        error
		path, body string
		headers    []string
		safe       bool
	}{
		{"nothing was stored", wrap(chargeingest.ErrNotStored), eventPath, event(), nil, true},
		{"no event of the batch was stored", wrap(chargeingest.ErrNotStored), eventsPath, batch(event()), nil, true},
		{"overloaded", wrap(chargeingest.ErrOverloaded), eventPath, event(), nil, true},
		{"shutting down", wrap(chargeingest.ErrClosed), eventPath, event(), nil, true},
		{"unknown, the event has a reference", unknown, eventPath, one, nil, true},
		{"unknown, the event has no reference", unknown, eventPath, event(), nil, false},
		{"unknown, the reference is empty", unknown, eventPath, event(`"reference":""`), nil, false},
		{"unknown, the reference is null", unknown, eventPath, event(`"reference":null`), nil, false},
		{"unknown, the request has an idempotency key", unknown, eventPath, event(), []string{key}, true},
		{"unknown, every event has a reference", unknown, eventsPath, batch(one, two), nil, true},
		{"unknown, one event has no reference", unknown, eventsPath, batch(one, event(), two), nil, false},
		{"unknown, the batch has an idempotency key", unknown, eventsPath, batch(one, event()), []string{key}, true},
		{"canceled while storing, the event has no reference", wrap(context.Canceled), eventPath, event(), nil, false},
		{"timeout while storing, the event has a reference", wrap(context.DeadlineExceeded), eventPath, one, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, withAppendError(c.err))
			resp := f.post(t, c.path, c.body, c.headers...)
			resp.requireRetryable(t, c.safe)
			require.NotContains(t, resp.text, cause, "only the log contains the cause")
			require.Contains(t, f.log.text(), cause)
		})
	}
	t.Run("bugs are 500 with one fixed message", func(t *testing.T) {
		var messages []any
		for _, store := range []storeFunc{
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				panic("index out of range")
			},
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic(unknown) },
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, nil
			},
			func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
				return chargeingest.AppendResult{}, unknown
			},
		} {
			resp := newFixture(t, withStore(store)).post(t, eventPath, event())
			resp.requireRetryable(t, false)
			messages = append(messages, resp.body["message"])
		}
		require.Len(t, slices.Compact(messages), 1)
	})
	t.Run("reads are always retryable", func(t *testing.T) {
		f := newFixture(t, withStore(&readableStore{
			Store: memstore.New(),
			get: func(context.Context, string, string) (chargeingest.StoredEvent, error) {
				return chargeingest.StoredEvent{}, unknown
			},
			list: func(context.Context, chargeingest.Query) (chargeingest.Page, error) {
				return chargeingest.Page{}, unknown
			},
		}))
		f.get(t, eventPath).requireRetryable(t, true)
		f.get(t, eventPath+"/x").requireRetryable(t, true)
	})
	t.Run("a retry of a stored event is a replay", func(t *testing.T) {
		store := memstore.New()
		failures := 1
		f := newFixture(t, withStore(&readableStore{
			Store: store,
			append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
				r, err := store.Append(ctx, b)
				if failures--; err == nil && failures == 0 {
					return chargeingest.AppendResult{}, unknown // stored, but the response is lost
				}
				return r, err
			},
		}))
		f.post(t, eventPath, event(), key).requireRetryable(t, true)
		require.Equal(t, "true", f.post(t, eventPath, event(), key).header.Get("Idempotent-Replayed"))
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("http.ErrAbortHandler panics again", func(t *testing.T) {
		f := newFixture(t, withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			panic(http.ErrAbortHandler)
		})))
		require.PanicsWithValue(t, http.ErrAbortHandler, func() {
			f.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, eventPath, strings.NewReader(event())))
		})
	})
}

func TestStoreRejectionStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{0: 503, 200: 503, 399: 503, 400: 400, 404: 404, 499: 499, 500: 503, 999: 503} {
		rejection := &chargeingest.Error{Status: status, Code: "X", Message: "rejected"}
		f := newFixture(t, withAppendError(fmt.Errorf("%w: %w", chargeingest.ErrNotStored, rejection)))
		require.Equal(t, want, f.post(t, eventPath, event()).status, "status %d", status)
		f = newFixture(t, withAppendError(rejection))
		require.Equal(t, 500, f.post(t, eventPath, event()).status, "status %d without ErrNotStored", status)
	}
}
