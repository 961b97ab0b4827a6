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
	because := func(sentinel error) error { return fmt.Errorf("%s: %w", cause, sentinel) }
	for _, c := range []struct {
		name       string
		err        error
		path, body string
		headers    []string
		safe       bool
	}{
		{"nothing was stored", because(chargeingest.ErrNotStored), eventPath, event(), nil, true},
		{"nothing of a batch was stored", because(chargeingest.ErrNotStored), eventsPath, batch(event()), nil, true},
		{"overloaded", because(chargeingest.ErrOverloaded), eventPath, event(), nil, true},
		{"shutting down", because(chargeingest.ErrClosed), eventPath, event(), nil, true},
		{"unknown, and the event has a reference", unknown, eventPath, one, nil, true},
		{"unknown, and the event has none", unknown, eventPath, event(), nil, false},
		{"unknown, and the reference is empty", unknown, eventPath, event(`"reference":""`), nil, false},
		{"unknown, and the reference is null", unknown, eventPath, event(`"reference":null`), nil, false},
		{"unknown, and the request has a key", unknown, eventPath, event(), []string{key}, true},
		{"unknown, and every event has a reference", unknown, eventsPath, batch(one, two), nil, true},
		{"unknown, and one event has none", unknown, eventsPath, batch(one, event(), two), nil, false},
		{"unknown, and the batch has a key", unknown, eventsPath, batch(one, event()), []string{key}, true},
		{"given up while it was stored, and the event has none", because(context.Canceled), eventPath, event(), nil, false},
		{"given up while it was stored, and the event has a reference", because(context.DeadlineExceeded), eventPath, one, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, withAppendError(c.err))
			resp := f.post(t, c.path, c.body, c.headers...)
			resp.requireRetryable(t, c.safe)
			require.NotContains(t, resp.text, cause, "the cause is in the log alone")
			require.Contains(t, f.log.text(), cause)
		})
	}
	t.Run("a bug is a 500, one fixed message for all", func(t *testing.T) {
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
	t.Run("what reads can always be sent again", func(t *testing.T) {
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
	t.Run("what is safe to send again stores once when it is", func(t *testing.T) {
		store := memstore.New()
		failures := 1
		f := newFixture(t, withStore(&readableStore{
			Store: store,
			append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
				r, err := store.Append(ctx, b)
				if failures--; err == nil && failures == 0 {
					return chargeingest.AppendResult{}, unknown // stored, and the store could not say so
				}
				return r, err
			},
		}))
		f.post(t, eventPath, event(), key).requireRetryable(t, true)
		require.Equal(t, "true", f.post(t, eventPath, event(), key).header.Get("Idempotent-Replayed"))
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("http.ErrAbortHandler is passed on", func(t *testing.T) {
		f := newFixture(t, withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			panic(http.ErrAbortHandler)
		})))
		require.PanicsWithValue(t, http.ErrAbortHandler, func() {
			f.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodPost, eventPath, strings.NewReader(event())))
		})
	})
}
