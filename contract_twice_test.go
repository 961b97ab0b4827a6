package chargeingest_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func returnOriginal(c *chargeingest.Config) { c.Duplicates = chargeingest.ReturnOriginal }

// notAgain is a time after which nothing may have been forgotten.
const notAgain = 10 * 365 * 24 * time.Hour

func TestReplay(t *testing.T) {
	t.Parallel()
	t.Run("is 201 with the original event, its id and its timestamp, and Idempotent-Replayed", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`))
		first.requireStored(t)
		f.advance(time.Minute)
		f.post(t, eventPath, event(`"reference":"r"`)).requireReplayOf(t, first)
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("is a replay for as long as the event is kept", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, fullEvent)
		f.advance(notAgain)
		f.post(t, eventPath, fullEvent).requireReplayOf(t, first)
	})
	t.Run("no reference, a null one and an empty one are not unique", func(t *testing.T) {
		f := newFixture(t)
		for _, body := range []string{event(), event(`"reference":null`), event(`"reference":""`)} {
			f.post(t, eventPath, body).requireStored(t)
			f.post(t, eventPath, body).requireStored(t)
		}
		f.post(t, eventPath, event(`"reference":""`, `"description":"other"`)).requireStored(t)
		require.Len(t, f.list(t, "pf_a"), 7)
	})
	t.Run("references are compared as sent", func(t *testing.T) {
		f := newFixture(t)
		for _, reference := range []string{"r", "R", "-r", "r-", "r_", "0", "00"} {
			f.post(t, eventPath, event(`"reference":`+quoted(reference))).requireStored(t)
		}
	})
	t.Run("is one in a batch as it is alone", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		a := f.post(t, eventsPath, batch(event(`"reference":"r"`)))
		require.Equal(t, "true", a.header.Get("Idempotent-Replayed"))
		require.Equal(t, first, a.events(t)[0])
	})
}

// contents are pairs of events with one reference, and whether they are the
// same content; where not, the fields that differ.
var contents = []struct {
	name, first, second string
	differ              []string
	settings            []func(*chargeingest.Config)
}{
	{name: "the order of members does not count", first: event(`"reference":"r"`, `"value":{"number":"1","count":"2"}`), second: `{"value":{"count":"2","number":"1"},"reference":"r",` + event()[1:]},
	{name: "white space does not count", first: event(`"reference":"r"`, `"value":{"number":"1"}`), second: strings.NewReplacer(":", " :\n", ",", "\t, ").Replace(event(`"reference":"r"`, `"value":{"number":"1"}`))},
	{name: "escapes are what they stand for", first: event(`"reference":"r"`, `"customer_id":"é/"`), second: event(`"ref\u0065rence":"\u0072"`, `"customer_id":"\u00e9\/"`)},
	{name: "null equals absent", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"customer_id":null`, `"description":null`, `"timestamp":null`)},
	{name: "absent equals null", first: event(`"reference":"r"`, `"customer_id":null`), second: event(`"reference":"r"`)},
	{name: "null equals absent in a value", first: event(`"reference":"r"`, `"value":{"number":"1","id":null}`), second: event(`"reference":"r"`, `"value":{"number":"1","count":null}`)},
	{name: "null equals absent in a selector", first: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":null,"fallback":null}`), second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{}`)},
	{name: "null equals absent for an unknown field", first: event(`"reference":"r"`, `"unknown":null`), second: event(`"reference":"r"`), settings: []func(*chargeingest.Config){keepUnknown}},
	{name: "the order of members in an unknown field does not count", first: event(`"reference":"r"`, `"a":{"b":1,"c":[{"d":1,"e":null}]}`, `"z":1`), second: event(`"z":1`, `"reference":"r"`, `"a":{ "c":[{"d":1}],"b":1}`), settings: []func(*chargeingest.Config){keepUnknown}},
	{name: "id and object_type do not count", first: event(`"reference":"r"`, `"id":"x"`), second: event(`"reference":"r"`, `"id":{"a":1}`, `"object_type":"y"`)},
	{name: "a timestamp left out both times is the same", first: event(`"reference":"r"`), second: event(`"reference":"r"`)},
	{name: "a timestamp that the service had set is the same", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:00:00Z"`)},
	{name: "a timestamp sent both times is the same", first: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.10z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.10z"`)},

	{name: "another timestamp than the service had set is not", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:00:01Z"`), differ: []string{"timestamp"}},
	{name: "the time that the service had set, with another offset", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T14:00:00+02:00"`)},
	{name: "the time of the retry's own receipt is not", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:01:00Z"`), differ: []string{"timestamp"}},
	{name: "a timestamp sent at first and left out then is not", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`), differ: []string{"timestamp"}},
	{name: "strings are compared as sent: 1.0 is not 1", first: event(`"reference":"r"`, `"value":{"number":"1.0"}`), second: event(`"reference":"r"`, `"value":{"number":"1"}`), differ: []string{"value.number"}},
	{name: "one instant, spelled in two ways", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.000+00:00"`)},
	{name: "one period, spelled in two ways", first: event(`"reference":"r"`, `"period":{"start_at":"2026-05-01T00:00:00Z"}`), second: event(`"reference":"r"`, `"period":{"start_at":"2026-05-01T02:00:00+02:00"}`)},
	{name: "another instant is not the same", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29.001Z"`), differ: []string{"timestamp"}},
	{name: "an empty string is not null", first: event(`"reference":"r"`, `"description":""`), second: event(`"reference":"r"`), differ: []string{"description"}},
	{name: "an empty object is not an absent one", first: event(`"reference":"r"`, `"value":{}`), second: event(`"reference":"r"`), differ: []string{"value"}},
	{name: "an empty list is not an absent one", first: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[]}`), second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{}`), differ: []string{"pricing_plan_subscription_selector.data"}},
	{
		name: "the order of a list counts", differ: []string{"pricing_plan_subscription_selector.data"},
		first:  event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"},{"field":"PRICING_PLAN_REFERENCE","value":"b"}]}`),
		second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"b"},{"field":"PRICING_PLAN_REFERENCE","value":"a"}]}`),
	},
	{
		name: "every field that differs is named", differ: []string{"pricing_id", "customer_id", "description", "value.amount.currency", "period.end_at", "timestamp"},
		first:  event(`"reference":"r"`, `"customer_id":"c"`, `"value":{"amount":{"quantity":"1","currency":"EUR"}}`, `"period":{"end_at":"2026-05-01T00:00:00Z"}`, `"timestamp":"2026-05-01T00:00:00Z"`),
		second: event(`"reference":"r"`, `"pricing_id":"p2"`, `"description":"d"`, `"value":{"amount":{"quantity":"1","currency":"USD"}}`, `"period":{"end_at":"2026-05-02T00:00:00Z"}`, `"timestamp":"2026-05-02T00:00:00Z"`),
	},
}

func TestSameContent(t *testing.T) {
	t.Parallel()
	for _, c := range contents {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, c.settings...)
			first := f.post(t, eventPath, c.first)
			stored := first.requireStored(t)
			f.advance(time.Minute)
			second := f.post(t, eventPath, c.second)
			require.Equal(t, []any{stored}, f.list(t, "pf_a"), "nothing more is stored and nothing changed")
			if c.differ == nil {
				second.requireReplayOf(t, first)
				return
			}
			second.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
			require.Equal(t, stored["id"], second.body["resource_id"], "resource_id is the first event's")
			for _, field := range c.differ {
				require.Contains(t, second.body["message"], field, "the message names the fields that differ")
			}
			for _, field := range []string{"product_item_id", "customer_reference", "value.amount.quantity"} {
				require.NotContains(t, second.body["message"], field, "and no other")
			}
		})
		t.Run(c.name+", under an idempotency key", func(t *testing.T) {
			f := newFixture(t, c.settings...)
			first := f.post(t, eventPath, c.first, "Idempotency-Key: k")
			first.requireStored(t)
			f.advance(time.Minute)
			second := f.post(t, eventPath, c.second, "Idempotency-Key: k")
			if c.differ == nil {
				second.requireReplayOf(t, first)
				return
			}
			second.requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
		})
	}
	for name, body := range map[string]string{
		"the least": event(`"reference":"r"`), "the most": fullEvent, "with unknown fields": fullWith(`"period":{`, `"x":[1.0,null,{"y":null}]`),
	} {
		t.Run("an event read back can be sent again: "+name, func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			first := f.post(t, eventPath, body)
			id := first.requireStored(t)["id"].(string)
			f.advance(time.Minute)
			f.post(t, eventPath, f.get(t, eventPath+"/"+id).text).requireReplayOf(t, first)
			f.post(t, eventPath, first.text).requireReplayOf(t, first)
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}

func TestReturnOriginal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, returnOriginal)
	first := f.post(t, eventPath, event(`"reference":"r"`))
	first.requireStored(t)
	f.post(t, eventPath, event(`"reference":"r"`)).requireReplayOf(t, first)
	f.post(t, eventPath, event(`"reference":"r"`, `"description":"other"`)).requireReplayOf(t, first)
	require.Len(t, f.list(t, "pf_a"), 1)
	t.Run("in a batch the first wins", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		a := f.post(t, eventsPath, batch(event(`"reference":"r"`, `"description":"A"`), event(`"reference":"r"`, `"description":"B"`)))
		a.requireStored(t)
		require.Equal(t, "A", a.events(t)[0]["description"])
		require.Equal(t, a.events(t)[0], a.events(t)[1])
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("an idempotency key with other content stays a conflict", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		f.post(t, eventPath, event(), "Idempotency-Key: k").requireStored(t)
		a := f.post(t, eventPath, event(`"description":"other"`), "Idempotency-Key: k")
		a.requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
	})
}

// TestReturnOriginalResponseSize sends small events in the places of
// large ones: under this setting nothing of the request bounds the response.
func TestReturnOriginalResponseSize(t *testing.T) {
	t.Parallel()
	large := `"note":"` + strings.Repeat("x", 1<<20) + `"`
	repeats := func(n int) string {
		return batch(slices.Repeat([]string{event(`"reference":"large"`)}, n)...)
	}
	for name, first := range map[string]string{"of a stored event": "", "of an event of the batch": event(`"reference":"large"`, large)} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, returnOriginal, keepUnknown)
			if first == "" {
				f.post(t, eventPath, event(`"reference":"large"`, large)).requireStored(t)
			}
			stored := f.list(t, "pf_a")
			send := func(n int) response {
				return f.post(t, eventsPath, strings.Replace(repeats(n), "[", "["+first+strings.Repeat(",", min(1, len(first))), 1))
			}
			a := send(16)
			a.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
			require.Contains(t, a.body["message"], "nothing was stored")
			require.Len(t, f.list(t, "pf_a"), len(stored))
			for _, e := range send(15).events(t) {
				require.Len(t, e["note"], 1<<20)
			}
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
	t.Run("what was sent is answered, however much it is", func(t *testing.T) {
		f := newFixture(t, returnOriginal, keepUnknown, func(c *chargeingest.Config) { c.MaxBodyBytes = 32 << 20 })
		body := batch(slices.Repeat([]string{event(`"reference":"large"`, large)}, 20)...)
		f.post(t, eventsPath, body).requireStored(t)
		require.Equal(t, http.StatusCreated, f.post(t, eventsPath, body).status)
	})
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	some := batch(event(`"description":"A"`), event(`"description":"B"`))
	for name, c := range map[string]struct{ path, body string }{"one event": {eventPath, event()}, "a batch": {eventsPath, some}} {
		t.Run("makes a request without references repeatable: "+name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, c.path, c.body, key)
			first.requireStored(t)
			stored := f.list(t, "pf_a")
			f.advance(notAgain) // it lives as long as its events
			f.post(t, c.path, c.body, key).requireReplayOf(t, first)
			require.Equal(t, stored, f.list(t, "pf_a"))
			f.post(t, c.path, c.body).requireStored(t)
			f.post(t, c.path, c.body, "Idempotency-Key: K").requireStored(t)
		})
	}
	for _, c := range []struct{ name, firstPath, first, path, second string }{
		{"another event", eventPath, event(), eventPath, event(`"description":"x"`)},
		{"another event with a reference", eventPath, event(`"reference":"r1"`), eventPath, event(`"reference":"r2"`)},
		{"the same events in another order", eventsPath, some, eventsPath, batch(event(`"description":"B"`), event(`"description":"A"`))},
		{"fewer events", eventsPath, some, eventsPath, batch(event(`"description":"A"`))},
		{"more events", eventsPath, some, eventsPath, batch(event(`"description":"A"`), event(`"description":"B"`), event())},
		{"the same event on the other route", eventPath, event(), eventsPath, batch(event())},
		{"the same event on the other route, the other way", eventsPath, batch(event()), eventPath, event()},
	} {
		t.Run("with other content is 409 IDEMPOTENCY_CHECK_FAILED: "+c.name, func(t *testing.T) {
			f := newFixture(t)
			f.post(t, c.firstPath, c.first, key).requireStored(t)
			stored := f.list(t, "pf_a")
			f.post(t, c.path, c.second, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			require.Equal(t, stored, f.list(t, "pf_a"), "nothing is stored")
		})
	}
	for name, value := range map[string]string{"1 character": "!", "255 characters": strings.Repeat("~", 255), "every sign": `"#$%&'()*+,-./:;<=>?@[\]^_{|}`} {
		t.Run("may be of "+name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, eventPath, event(), "Idempotency-Key: "+value)
			first.requireStored(t)
			f.post(t, eventPath, event(), "Idempotency-Key: "+value).requireReplayOf(t, first)
		})
	}
	f := newFixture(t)
	for name, value := range map[string]string{"0 characters": "", "256 characters": strings.Repeat("x", 256), "a blank": "a b", "a tab": "a\tb", "a control character": "a\x01", "DEL": "a\x7f", "what is not ASCII": "é"} {
		t.Run("malformed is INVALID_FIELD on Idempotency-Key: "+name, func(t *testing.T) {
			for path, body := range map[string]string{eventPath: event(`"reference":"r"`), eventsPath: batch(event())} {
				f.post(t, path, body, "Idempotency-Key: "+value).requireError(t, http.StatusBadRequest, "INVALID_FIELD", "Idempotency-Key")
			}
		})
	}
	f.requireNothingStored(t)
}

func TestConcurrentKeysAndReferences(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	for name, wrap := range map[string]func(string) (string, string){
		"one event": func(e string) (string, string) { return eventPath, e },
		"a batch":   func(e string) (string, string) { return eventsPath, batch(e) },
	} {
		t.Run("the key is checked first: "+name, func(t *testing.T) {
			f := newFixture(t)
			path, body := wrap(event(`"reference":"r"`))
			first := f.post(t, path, body, key)
			first.requireStored(t)
			f.post(t, path, body, key).requireReplayOf(t, first)
			_, other := wrap(event(`"reference":"r"`, `"description":"other"`))
			f.post(t, path, other, key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
			a := f.post(t, path, other, "Idempotency-Key: k2")
			require.Equal(t, "RESOURCE_ALREADY_EXISTS", a.body["code"])
			f.post(t, path, body, "Idempotency-Key: k3").requireReplayOf(t, first)
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
}

func TestKeyOfRejectedRequestIsUnused(t *testing.T) {
	t.Parallel()
	const key = "Idempotency-Key: k"
	for _, c := range everyError {
		if c.status >= 500 || c.code == "IDEMPOTENCY_CHECK_FAILED" || c.field == "Idempotency-Key" {
			continue // those have cases of their own
		}
		t.Run(fmt.Sprintf("not by a %d %s: %s", c.status, c.code, c.name), func(t *testing.T) {
			store := memstore.New()
			f := newFixture(t, append(c.settings, over(store))...)
			require.Equal(t, c.status, c.provoke(t, f, key).status)
			newFixture(t, over(store)).post(t, eventPath, event(`"description":"other"`), key).requireStored(t)
		})
	}
	t.Run("not by a 409 IDEMPOTENCY_CHECK_FAILED: the key stays bound to the first", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(), key)
		first.requireStored(t)
		f.post(t, eventPath, event(`"description":"other"`), key).requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
		f.post(t, eventPath, event(), key).requireReplayOf(t, first)
	})
	t.Run("not by a 503", func(t *testing.T) {
		store := memstore.New()
		down := true
		f := newFixture(t, over(&readableStore{Store: store, append: func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
			if down {
				return chargeingest.AppendResult{}, chargeingest.ErrOverloaded
			}
			return store.Append(ctx, b)
		}}))
		f.post(t, eventPath, event(), key).requireRetryable(t, true)
		down = false
		f.post(t, eventPath, event(`"description":"other"`), key).requireStored(t)
	})
	t.Run("not by a batch of which one event is bad", func(t *testing.T) {
		f := newFixture(t)
		f.post(t, eventsPath, batch(event(), event("-pricing_id")), key).requireError(t, http.StatusBadRequest, "MISSING_FIELD", "charge_datas.1.pricing_id")
		f.post(t, eventsPath, batch(event()), key).requireStored(t)
	})
}

func TestDuplicatesInABatch(t *testing.T) {
	t.Parallel()
	const a, b, c = `"reference":"a"`, `"reference":"b"`, `"reference":"c"`
	t.Run("the same reference twice with the same content stores one and responses it in both places", func(t *testing.T) {
		f := newFixture(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(`"customer_id":null`, a)))
		got.requireStored(t)
		events := got.events(t)
		require.Equal(t, events[0], events[2])
		require.NotEqual(t, events[0]["id"], events[1]["id"])
		require.Equal(t, []any{events[0], events[1]}, f.list(t, "pf_a"))
	})
	t.Run("the same reference twice with other content is a 409 on the second", func(t *testing.T) {
		f := newFixture(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(a, `"value":{"number":"2"}`)))
		got.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Contains(t, got.body["message"], "value")
		f.requireNothingStored(t)
	})
	t.Run("a conflict with a stored event is a 409 on its place", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(b)).requireStored(t)
		got := f.post(t, eventsPath, batch(event(), event(a), event(b, `"description":"x"`), event(c)))
		got.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Equal(t, stored["id"], got.body["resource_id"])
		require.Contains(t, got.body["message"], "description")
		require.Equal(t, []any{stored}, f.list(t, "pf_a"), "nothing of the batch is stored")
	})
	t.Run("of replays and new events the new ones are stored and all are answered", func(t *testing.T) {
		f := newFixture(t)
		old := f.post(t, eventPath, event(b)).requireStored(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(c), event()))
		got.requireStored(t) // Idempotent-Replayed only where every event is a replay
		events := got.events(t)
		require.Equal(t, old, events[1])
		require.Equal(t, []any{old, events[0], events[2], events[3]}, f.list(t, "pf_a"))
	})
	t.Run("where every event is a replay Idempotent-Replayed is true", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventsPath, batch(event(a), event(b)))
		first.requireStored(t)
		f.post(t, eventsPath, batch(event(a), event(b))).requireReplayOf(t, first)
		reversed := f.post(t, eventsPath, batch(event(b), event(a), event(b)))
		require.Equal(t, "true", reversed.header.Get("Idempotent-Replayed"))
		require.Equal(t, []map[string]any{first.events(t)[1], first.events(t)[0], first.events(t)[1]}, reversed.events(t))
	})
}

func TestIdempotentReplayedCount(t *testing.T) {
	t.Parallel()
	const a, b, c = `"reference":"a"`, `"reference":"b"`, `"reference":"c"`
	const key = "Idempotency-Key: k"
	f := newFixture(t)
	for _, s := range []struct {
		name    string
		body    string
		headers []string
		want    string
	}{
		{"new events", batch(event(a), event(), event()), nil, "0"},
		{"one that was stored before", batch(event(b), event(a)), nil, "1"},
		{"all of them", batch(event(a), event(b)), nil, "2"},
		{"one that an earlier event of the batch stored", batch(event(c), event(c)), nil, "1"},
		{"a key that is new", batch(event(), event()), []string{key}, "0"},
		{"a key that is known", batch(event(), event()), []string{key}, "2"},
	} {
		t.Run(s.name, func(t *testing.T) {
			got := f.post(t, eventsPath, s.body, s.headers...)
			require.Equal(t, http.StatusCreated, got.status, got.text)
			require.Equal(t, []string{s.want}, got.header.Values("Idempotent-Replayed-Count"))
			require.Equal(t, s.want == strconv.Itoa(len(got.events(t))), got.header.Get("Idempotent-Replayed") == "true")
		})
	}
	t.Run("not of a single event", func(t *testing.T) {
		for range 2 {
			got := f.post(t, eventPath, event(`"reference":"single"`))
			require.Equal(t, http.StatusCreated, got.status)
			require.Empty(t, got.header.Values("Idempotent-Replayed-Count"))
		}
	})
	t.Run("not of a batch that is refused", func(t *testing.T) {
		require.Empty(t, f.post(t, eventsPath, batch(event(a, `"description":"x"`))).header.Values("Idempotent-Replayed-Count"))
	})
}

func TestConcurrentDuplicates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, body string
		headers          []string
		stored           int
	}{
		{"of one event with a reference", eventPath, event(`"reference":"r"`), nil, 1},
		{"of one event with a key", eventPath, event(), []string{"Idempotency-Key: k"}, 1},
		{"of a batch with a key", eventsPath, batch(event(), event(), event()), []string{"Idempotency-Key: k"}, 3},
		{"of a batch with references", eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`)), nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			first := 0
			var responses []response
			for _, a := range responsesOf(t, f.handler, 100, func(int) *http.Request {
				return request(http.MethodPost, c.path, strings.NewReader(c.body), c.headers...)
			}) {
				require.Equal(t, http.StatusCreated, a.status, a.text)
				if a.header.Get("Idempotent-Replayed") == "" {
					first++
				}
				responses = append(responses, a)
			}
			require.Equal(t, 1, first, "one is the first, the others are replays")
			for _, a := range responses {
				require.Equal(t, responses[0].text, a.text)
			}
			require.Len(t, f.list(t, "pf_a"), c.stored)
		})
	}
	t.Run("of as many contents as senders: one is stored, the others are conflicts with it", func(t *testing.T) {
		f := newFixture(t)
		conflicts := make(map[any]int)
		for _, a := range responsesOf(t, f.handler, 100, func(i int) *http.Request {
			return request(http.MethodPost, eventPath, strings.NewReader(event(`"reference":"r"`, fmt.Sprintf(`"description":"%d"`, i))))
		}) {
			if a.status == http.StatusConflict {
				conflicts[a.body["resource_id"]]++
			}
		}
		stored := f.list(t, "pf_a")
		require.Len(t, stored, 1)
		require.Equal(t, map[any]int{at(stored, "0.id"): 99}, conflicts)
	})
}
