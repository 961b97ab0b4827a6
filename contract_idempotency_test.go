package chargeingest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	body := batch(event(`"description":"A"`), event(`"description":"B"`))
	for name, c := range map[string]struct{ path, body string }{"one event": {eventPath, event()}, "a batch": {eventsPath, body}} {
		t.Run("a retry without references is a replay: "+name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, c.path, c.body, key)
			first.requireStored(t)
			stored := f.list(t, "pf_a")
			f.advance(tenYears)
			f.post(t, c.path, c.body, key).requireReplayOf(t, first)
			require.Equal(t, stored, f.list(t, "pf_a"))
			f.post(t, c.path, c.body).requireStored(t)
			f.post(t, c.path, c.body, "Idempotency-Key: K").requireStored(t)
		})
	}
	for _, c := range []struct{ name, firstPath, first, path, second string }{
		{"a different event", eventPath, event(), eventPath, event(`"description":"x"`)},
		{"a different event with a reference", eventPath, event(`"reference":"r1"`), eventPath, event(`"reference":"r2"`)},
		{"the same events in another order", eventsPath, body, eventsPath, batch(event(`"description":"B"`), event(`"description":"A"`))},
		{"fewer events", eventsPath, body, eventsPath, batch(event(`"description":"A"`))},
		{"more events", eventsPath, body, eventsPath, batch(event(`"description":"A"`), event(`"description":"B"`), event())},
		{"the same event as a batch", eventPath, event(), eventsPath, batch(event())},
		{"the same event alone", eventsPath, batch(event()), eventPath, event()},
	} {
		t.Run("different content is a conflict: "+c.name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, c.firstPath, c.first, key).requireStored(t)
			stored := f.list(t, "pf_a")
			f.post(t, c.path, c.second, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			require.Equal(t, stored, f.list(t, "pf_a"), "no event is stored")
		})
	}
	for name, value := range map[string]string{"1 character": "!", "255 characters": strings.Repeat("~", 255), "all punctuation": `"#$%&'()*+,-./:;<=>?@[\]^_{|}`} {
		t.Run("valid: "+name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, eventPath, event(), "Idempotency-Key: "+value)
			first.requireStored(t)
			f.post(t, eventPath, event(), "Idempotency-Key: "+value).requireReplayOf(t, first)
		})
	}
	f := newFixture(t)
	for name, value := range map[string]string{"0 characters": "", "256 characters": strings.Repeat("x", 256), "a blank": "a b", "a tab": "a\tb", "a control character": "a\x01", "DEL": "a\x7f", "not ASCII": "é"} {
		t.Run("invalid: "+name, func(t *testing.T) {
			for path, body := range map[string]string{eventPath: event(`"reference":"r"`), eventsPath: batch(event())} {
				f.post(t, path, body, "Idempotency-Key: "+value).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "Idempotency-Key")
			}
		})
	}
	f.requireNothingStored(t)
}

func TestKeyPrecedesReferences(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	for name, wrap := range map[string]func(string) (string, string){
		"one event": func(e string) (string, string) { return eventPath, e },
		"a batch":   func(e string) (string, string) { return eventsPath, batch(e) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			path, body := wrap(event(`"reference":"r"`))
			first := f.post(t, path, body, key)
			first.requireStored(t)
			f.post(t, path, body, key).requireReplayOf(t, first)
			_, other := wrap(event(`"reference":"r"`, `"description":"other"`))
			f.post(t, path, other, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			resp := f.post(t, path, other, "Idempotency-Key: k2")
			require.Equal(t, "RESOURCE_ALREADY_EXISTS", resp.body["code"])
			f.post(t, path, body, "Idempotency-Key: k3").requireReplayOf(t, first)
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}

func TestKeyOfRejectedRequestIsUnused(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	for _, c := range everyError {
		if c.status >= 500 || slices.Contains([]string{"IDEMPOTENCY_CHECK_FAILED", "RESOURCES_NOT_FOUND"}, c.code) || c.field == "Idempotency-Key" {
			continue
		}
		t.Run(fmt.Sprintf("%d %s: %s", c.status, c.code, c.name), func(t *testing.T) {
			store := memstore.New()
			f := newFixture(t, append(c.settings, withStore(store))...)
			require.Equal(t, c.status, c.provoke(t, f, key).status)
			newFixture(t, withStore(store)).post(t, eventPath, event(`"description":"other"`), key).requireStored(t)
		})
	}
	t.Run("409 IDEMPOTENCY_CHECK_FAILED: the key keeps its first request", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(), key)
		first.requireStored(t)
		f.post(t, eventPath, event(`"description":"other"`), key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
		f.post(t, eventPath, event(), key).requireReplayOf(t, first)
	})
	t.Run("503", func(t *testing.T) {
		store := memstore.New()
		down := true
		f := newFixture(t, withStore(&readableStore{Store: store, append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
			if down {
				return chargeingest.AppendResult{}, chargeingest.ErrOverloaded
			}
			return store.Append(ctx, b)
		}}))
		f.post(t, eventPath, event(), key).requireRetryable(t, true)
		down = false
		f.post(t, eventPath, event(`"description":"other"`), key).requireStored(t)
	})
	t.Run("a batch with an invalid event", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventsPath, batch(event(), event("-pricing_id")), key).requireError(t, http.StatusBadRequest, "MISSING_FIELD", "charge_datas.1.pricing_id")
		f.post(t, eventsPath, batch(event()), key).requireStored(t)
	})
}

// The response can differ from the sent content, to which the key belongs.
func TestKeyComparesSentContent(t *testing.T) {
	f := newFixture(t, returnOriginal, keepUnknown)
	original := event(`"reference":"r"`, `"description":"first"`)
	f.post(t, eventPath, original).requireStored(t)
	sent := event(`"reference":"r"`, `"description":"second"`, `"a":1`, `"b":2`)
	first := f.post(t, eventPath, sent, "Idempotency-Key: k")
	require.Equal(t, "first", first.body["description"], "the response has the original")

	f.post(t, eventPath, sent, "Idempotency-Key: k").requireReplayOf(t, first)
	reordered := event(`"reference":"r"`, `"description":"second"`, `"b":2`, `"a":1`)
	f.post(t, eventPath, reordered, "Idempotency-Key: k").requireReplayOf(t, first)
	f.post(t, eventPath, original, "Idempotency-Key: k").
		requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
	require.Equal(t, http.StatusCreated, f.post(t, eventPath, original, "Idempotency-Key: other").status)
}

func TestReturnedEventWithItsKey(t *testing.T) {
	t.Parallel()
	for name, retry := range map[string]string{
		"in the same format": event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00Z"}`),
		"in another format":  event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00+00:00"}`),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, eventPath, event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00Z"}`))
			stored := first.requireStored(t)
			f.advance(time.Hour)
			f.post(t, eventPath, retry, "Idempotency-Key: k").requireReplayOf(t, first)
			f.post(t, eventPath, retry, "Idempotency-Key: k").requireReplayOf(t, first)
			readBack := f.get(t, eventPath+"/"+stored["id"].(string))
			require.Equal(t, 200, readBack.status)
			f.post(t, eventPath, readBack.text, "Idempotency-Key: k").requireReplayOf(t, first)
		})
	}
}

func TestRepeatedIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, body := range map[string]string{eventPath: event(), eventsPath: batch(event())} {
		for _, second := range []string{"k", "other", ""} {
			resp := f.post(t, path, body, "Idempotency-Key: k", "Idempotency-Key: "+second)
			resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "Idempotency-Key")
		}
	}
	f.requireNothingStored(t)
}

func TestNewKeyForStoredReferences(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: new"
	for name, c := range map[string]struct{ path, body, other string }{
		"one event": {eventPath, event(`"reference":"a"`), event(`"reference":"c"`)},
		"a batch":   {eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`)), batch(event(`"reference":"c"`))},
		"a batch with some new events": {
			eventsPath, batch(event(`"reference":"a"`), event(`"reference":"d"`), event()), batch(event(`"reference":"c"`)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`))).requireStored(t)
			first := f.post(t, c.path, c.body, key)
			require.Equal(t, http.StatusCreated, first.status, first.text)
			stored := f.list(t, "pf_a")
			f.post(t, c.path, c.body, key).requireReplayOf(t, first)
			f.post(t, c.path, c.other, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			require.Equal(t, stored, f.list(t, "pf_a"))
		})
	}
}

func TestKeyAfter500(t *testing.T) {
	t.Parallel()
	store, broken := memstore.New(), true
	f := newFixture(t, withStore(&readableStore{Store: store, append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
		if broken {
			panic("index out of range")
		}
		return store.Append(ctx, b)
	}}))
	f.post(t, eventPath, event(), "Idempotency-Key: k").requireRetryable(t, false)
	broken = false
	f.post(t, eventPath, event(`"description":"other"`), "Idempotency-Key: k").requireStored(t)
}
