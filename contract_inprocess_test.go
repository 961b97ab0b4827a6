package chargeingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// decoded reads events as a host has them, types checked and nothing else.
func decoded(t *testing.T, texts ...string) []chargeingest.ChargeEvent {
	t.Helper()
	events := make([]chargeingest.ChargeEvent, len(texts))
	for i, text := range texts {
		require.NoError(t, json.Unmarshal([]byte(text), &events[i]))
	}
	return events
}

func (f *fixture) ingest(t *testing.T, key string, texts ...string) (chargeingest.IngestResult, error) {
	t.Helper()
	return f.handler.Ingest(context.Background(), chargeingest.IngestRequest{Platform: "pf_a", IdempotencyKey: key, Events: decoded(t, texts...)})
}

func TestIngestEqualsPost(t *testing.T) {
	t.Parallel()
	for name, texts := range map[string][]string{
		"the least": {event()}, "the most": {fullEvent}, "three, one of them twice": {event(`"reference":"a"`), event(), event(`"reference":"a"`)},
		"unknown fields that are kept": {fullWith(`"value":{`, `"x":[1.0,null]`)},
	} {
		t.Run(name, func(t *testing.T) {
			inside, outside := newFixture(t, keepUnknown), newFixture(t, keepUnknown)
			result, err := inside.ingest(t, "", texts...)
			require.NoError(t, err)
			want := outside.post(t, eventsPath, batch(texts...)).events(t)
			require.Len(t, result.Events, len(want))
			got := inside.list(t, "pf_a")
			require.Len(t, got, len(outside.list(t, "pf_a")))
			for i := range want {
				text, err := json.Marshal(result.Events[i])
				require.NoError(t, err)
				same := strings.Replace(string(text), result.Events[i].ID, want[i]["id"].(string), 1)
				sent, err := json.Marshal(want[i])
				require.NoError(t, err)
				require.JSONEq(t, string(sent), same)
			}
		})
	}
}

func TestIngestRejectionsEqualPost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, key string
		events    []string
	}{
		{"a missing field", "", []string{event(), event(`"pricing_id":""`)}},
		{"a bad number", "", []string{event(`"value":{"number":"x"}`)}},
		{"an end before its start", "", []string{event(`"period":{"start_at":"2026-05-02T00:00:00Z","end_at":"2026-05-01T00:00:00Z"}`)}},
		{"many violations", "", []string{event(`"reference":"."`, `"description":"."`, `"timestamp":"x"`), event(`"customer_id":""`)}},
		{"an unknown field", "", []string{event(`"x":1`)}},
		{"a malformed key", "a b", []string{event()}},
		{"no events", "", nil},
		{"too many events", "", []string{event(), event(), event(), event()}},
		{"a conflict within", "", []string{event(`"reference":"r"`), event(`"reference":"r"`, `"description":"x"`)}},
		{"a conflict with what is stored", "", []string{event(`"reference":"known"`, `"description":"x"`)}},
		{"a conflict of the key", "known", []string{event(`"description":"x"`)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := memstore.New()
			f := newFixture(t, over(store), func(cfg *chargeingest.Config) { cfg.MaxBatchEvents = 3 })
			f.post(t, eventsPath, batch(event(`"reference":"known"`)), "Idempotency-Key: known").requireStored(t)
			headers := []string{"-Idempotency-Key"}
			if c.key != "" {
				headers = []string{"Idempotency-Key: " + c.key}
			}
			want := f.post(t, eventsPath, batch(c.events...), headers...)
			_, err := f.ingest(t, c.key, c.events...)
			var e *chargeingest.Error
			require.ErrorAs(t, err, &e)
			want.requireError(t, e.Status, string(e.Code), e.Field)
			var found []violation
			for _, v := range e.Violations {
				found = append(found, violation{string(v.Code), v.Field})
			}
			require.Equal(t, want.violations(t), found)
			require.Equal(t, want.body["resource_id"] != nil, e.ResourceID != "")
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}

func TestIngestSharesReferencesAndKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.post(t, eventsPath, batch(event(`"reference":"r"`), event()), "Idempotency-Key: k")
	result, err := f.ingest(t, "k", event(`"reference":"r"`), event())
	require.NoError(t, err)
	require.Equal(t, []bool{true, true}, result.Replayed)
	require.Equal(t, first.events(t)[1]["id"], result.Events[1].ID)
	result, err = f.ingest(t, "", event(`"reference":"r"`), event(`"reference":"s"`))
	require.NoError(t, err)
	require.Equal(t, []bool{true, false}, result.Replayed)
	require.Equal(t, "true", f.post(t, eventPath, event(`"reference":"s"`)).header.Get("Idempotent-Replayed"))
}

func TestIngestErrors(t *testing.T) {
	t.Parallel()
	unknown := errors.New("lost")
	for _, c := range []struct {
		name, key, event string
		err              error
		safe             bool
	}{
		{"overloaded", "", event(), chargeingest.ErrOverloaded, true},
		{"unknown, without a reference", "", event(), unknown, false},
		{"unknown, with a reference", "", event(`"reference":"r"`), unknown, true},
		{"unknown, with a key", "k", event(), unknown, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := newFixture(t, appending(c.err)).ingest(t, c.key, c.event)
			var e *chargeingest.Error
			require.ErrorAs(t, err, &e)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, !errors.Is(c.err, chargeingest.ErrNotStored), errors.Is(err, chargeingest.ErrOutcomeUnknown))
			require.Equal(t, c.safe, e.RetryAfter > 0)
			require.Equal(t, c.safe, e.Status == http.StatusServiceUnavailable)
		})
	}
	t.Run("a panic of the store is a 500", func(t *testing.T) {
		_, err := newFixture(t, over(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) { panic("torn") }))).ingest(t, "", event())
		var e *chargeingest.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
		require.Equal(t, http.StatusInternalServerError, e.Status)
	})
	t.Run("a platform is required", func(t *testing.T) {
		store := memstore.New()
		f := newFixture(t, over(store))
		_, err := f.handler.Ingest(context.Background(), chargeingest.IngestRequest{Events: decoded(t, event())})
		require.Error(t, err)
		f.requireNothingStored(t)
	})
}

func TestConfigErrorsNameTheField(t *testing.T) {
	t.Parallel()
	for field, set := range map[string]func(*chargeingest.Config){
		"Store":            func(c *chargeingest.Config) { c.Store = nil },
		"Authorizer":       func(c *chargeingest.Config) { c.Authorizer = nil },
		"MaxBodyBytes":     func(c *chargeingest.Config) { c.MaxBodyBytes = -1 },
		"MaxBatchEvents":   func(c *chargeingest.Config) { c.MaxBatchEvents = -1 },
		"MaxDiscardBytes":  func(c *chargeingest.Config) { c.MaxDiscardBytes = -1 },
		"MaxDiscardTime":   func(c *chargeingest.Config) { c.MaxDiscardTime = -1 },
		"MaxInFlightBytes": func(c *chargeingest.Config) { c.MaxInFlightBytes = -1 },
		"MaxInFlightBytes is less than MaxBodyBytes": func(c *chargeingest.Config) { c.MaxBodyBytes, c.MaxInFlightBytes = 10, 9 },
		"MaxFutureSkew": func(c *chargeingest.Config) { c.MaxFutureSkew = -1 },
		"Duplicates":    func(c *chargeingest.Config) { c.Duplicates = -1 },
	} {
		t.Run(field, func(t *testing.T) {
			cfg := chargeingest.Config{Store: memstore.New(), Authorizer: newKeySet(t)}
			_, err := chargeingest.New(cfg)
			require.NoError(t, err, "everything else has a default")
			set(&cfg)
			h, err := chargeingest.New(cfg)
			require.ErrorContains(t, err, "Config."+field)
			require.Nil(t, h)
		})
	}
}
