package chargeingest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

const tenYears = 10 * 365 * 24 * time.Hour

func TestReplay(t *testing.T) {
	t.Parallel()
	t.Run("the response is that of the original event", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`))
		first.requireStored(t)
		f.advance(time.Minute)
		f.post(t, eventPath, event(`"reference":"r"`)).requireReplayOf(t, first)
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("references do not expire", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, fullEvent)
		f.advance(tenYears)
		f.post(t, eventPath, fullEvent).requireReplayOf(t, first)
	})
	t.Run("absent, null and empty references are not unique", func(t *testing.T) {
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
	t.Run("a replay in a batch", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventPath, event(`"reference":"r"`)).requireStored(t)
		resp := f.post(t, eventsPath, batch(event(`"reference":"r"`)))
		require.Equal(t, "true", resp.header.Get("Idempotent-Replayed"))
		require.Equal(t, first, resp.events(t)[0])
	})
}

var contentPairs = []struct {
	name, first, second string
	differ              []string
	settings            []func(*chargeingest.Config)
}{
	{name: "the order of fields is ignored", first: event(`"reference":"r"`, `"value":{"number":"1","count":"2"}`), second: `{"value":{"count":"2","number":"1"},"reference":"r",` + event()[1:]},
	{name: "white space is ignored", first: event(`"reference":"r"`, `"value":{"number":"1"}`), second: strings.NewReplacer(":", " :\n", ",", "\t, ").Replace(event(`"reference":"r"`, `"value":{"number":"1"}`))},
	{name: "escapes equal their characters", first: event(`"reference":"r"`, `"customer_id":"é/"`), second: event(`"ref\u0065rence":"\u0072"`, `"customer_id":"\u00e9\/"`)},
	{name: "null equals absent", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"customer_id":null`, `"description":null`, `"timestamp":null`)},
	{name: "absent equals null", first: event(`"reference":"r"`, `"customer_id":null`), second: event(`"reference":"r"`)},
	{name: "null equals absent in a value", first: event(`"reference":"r"`, `"value":{"number":"1","id":null}`), second: event(`"reference":"r"`, `"value":{"number":"1","count":null}`)},
	{name: "null equals absent in a selector", first: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":null,"fallback":null}`), second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{}`)},
	{name: "null equals absent for an unknown field", first: event(`"reference":"r"`, `"unknown":null`), second: event(`"reference":"r"`), settings: []func(*chargeingest.Config){keepUnknown}},
	{name: "the order of fields in an unknown field is ignored", first: event(`"reference":"r"`, `"a":{"b":1,"c":[{"d":1,"e":null}]}`, `"z":1`), second: event(`"z":1`, `"reference":"r"`, `"a":{ "c":[{"d":1}],"b":1}`), settings: []func(*chargeingest.Config){keepUnknown}},
	{name: "id and object_type are ignored", first: event(`"reference":"r"`, `"id":"x"`), second: event(`"reference":"r"`, `"id":{"a":1}`, `"object_type":"y"`)},
	{name: "no timestamp in both", first: event(`"reference":"r"`), second: event(`"reference":"r"`)},
	{name: "the timestamp that the service assigned", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:00:00Z"`)},
	{name: "the same timestamp in both", first: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.10z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.10z"`)},

	{name: "a timestamp other than the assigned one", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:00:01Z"`), differ: []string{"timestamp"}},
	{name: "the assigned timestamp with another offset", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T14:00:00+02:00"`)},
	{name: "the time of the retry", first: event(`"reference":"r"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T12:01:00Z"`), differ: []string{"timestamp"}},
	{name: "a timestamp only in the first", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`), differ: []string{"timestamp"}},
	{name: "1.0 does not equal 1", first: event(`"reference":"r"`, `"value":{"number":"1.0"}`), second: event(`"reference":"r"`, `"value":{"number":"1"}`), differ: []string{"value.number"}},
	{name: "the same instant in another format", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01t09:00:29.000+00:00"`)},
	{name: "the same period in another format", first: event(`"reference":"r"`, `"period":{"start_at":"2026-05-01T00:00:00Z"}`), second: event(`"reference":"r"`, `"period":{"start_at":"2026-05-01T02:00:00+02:00"}`)},
	{name: "another instant", first: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29Z"`), second: event(`"reference":"r"`, `"timestamp":"2026-09-01T09:00:29.001Z"`), differ: []string{"timestamp"}},
	{name: "an empty string does not equal null", first: event(`"reference":"r"`, `"description":""`), second: event(`"reference":"r"`), differ: []string{"description"}},
	{name: "an empty object does not equal absent", first: event(`"reference":"r"`, `"value":{}`), second: event(`"reference":"r"`), differ: []string{"value"}},
	{name: "an empty list does not equal absent", first: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[]}`), second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{}`), differ: []string{"pricing_plan_subscription_selector.data"}},
	{
		name: "the order of a list", differ: []string{"pricing_plan_subscription_selector.data"},
		first:  event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"},{"field":"PRICING_PLAN_REFERENCE","value":"b"}]}`),
		second: event(`"reference":"r"`, `"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"b"},{"field":"PRICING_PLAN_REFERENCE","value":"a"}]}`),
	},
	{
		name: "many fields differ", differ: []string{"pricing_id", "customer_id", "description", "value.amount.currency", "period.end_at", "timestamp"},
		first:  event(`"reference":"r"`, `"customer_id":"c"`, `"value":{"amount":{"quantity":"1","currency":"EUR"}}`, `"period":{"end_at":"2026-05-01T00:00:00Z"}`, `"timestamp":"2026-05-01T00:00:00Z"`),
		second: event(`"reference":"r"`, `"pricing_id":"p2"`, `"description":"d"`, `"value":{"amount":{"quantity":"1","currency":"USD"}}`, `"period":{"end_at":"2026-05-02T00:00:00Z"}`, `"timestamp":"2026-05-02T00:00:00Z"`),
	},
}

func TestSameContent(t *testing.T) {
	t.Parallel()
	for _, c := range contentPairs {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, c.settings...)
			first := f.post(t, eventPath, c.first)
			stored := first.requireStored(t)
			f.advance(time.Minute)
			second := f.post(t, eventPath, c.second)
			require.Equal(t, []any{stored}, f.list(t, "pf_a"), "stored events do not change")
			if c.differ == nil {
				second.requireReplayOf(t, first)
				return
			}
			second.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
			require.Equal(t, stored["id"], second.body["resource_id"], "resource_id of the stored event")
			for _, field := range c.differ {
				require.Contains(t, second.body["message"], field, "the message has the fields that differ")
			}
			for _, field := range []string{"product_item_id", "customer_reference", "value.amount.quantity"} {
				require.NotContains(t, second.body["message"], field, "the message has no other fields")
			}
		})
		t.Run(c.name+", with an idempotency key", func(t *testing.T) {
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
		"a minimal event": event(`"reference":"r"`), "a full event": fullEvent, "with unknown fields": fullEventWith(`"period":{`, `"x":[1.0,null,{"y":null}]`),
	} {
		t.Run("a returned event is a replay: "+name, func(t *testing.T) {
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

func TestSameContentInBatch(t *testing.T) {
	t.Parallel()
	const r = `"reference":"r"`
	t.Run("a returned batch is a replay", func(t *testing.T) {
		f := newFixture(t)
		first := f.post(t, eventsPath, batch(event(r), fullEvent))
		first.requireStored(t)
		f.advance(time.Minute)
		f.post(t, eventsPath, first.text).requireReplayOf(t, first)
	})
	t.Run("the assigned timestamp equals no timestamp", func(t *testing.T) {
		f := newFixture(t)
		events := f.post(t, eventsPath, batch(event(r), event(r, `"timestamp":"2026-09-01T12:00:00Z"`))).events(t)
		require.Equal(t, events[0], events[1])
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("a replay and a conflict with the same stored event", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(r)).requireStored(t)
		resp := f.post(t, eventsPath, batch(event(r), event(), event(r, `"description":"other"`)))
		resp.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Equal(t, stored["id"], resp.body["resource_id"])
		require.Equal(t, []any{stored}, f.list(t, "pf_a"))
	})
	t.Run("ReturnOriginal returns the stored event for each", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		stored := f.post(t, eventPath, event(r)).requireStored(t)
		resp := f.post(t, eventsPath, batch(event(r, `"description":"A"`), event(r, `"description":"B"`)))
		require.Equal(t, "true", resp.header.Get("Idempotent-Replayed"))
		require.Equal(t, []map[string]any{stored, stored}, resp.events(t))
	})
}

func TestReturnOriginal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, returnOriginal)
	first := f.post(t, eventPath, event(`"reference":"r"`))
	first.requireStored(t)
	f.post(t, eventPath, event(`"reference":"r"`)).requireReplayOf(t, first)
	f.post(t, eventPath, event(`"reference":"r"`, `"description":"other"`)).requireReplayOf(t, first)
	require.Len(t, f.list(t, "pf_a"), 1)
	t.Run("in a batch the first event is stored", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		resp := f.post(t, eventsPath, batch(event(`"reference":"r"`, `"description":"A"`), event(`"reference":"r"`, `"description":"B"`)))
		resp.requireStored(t)
		require.Equal(t, "A", resp.events(t)[0]["description"])
		require.Equal(t, resp.events(t)[0], resp.events(t)[1])
		require.Len(t, f.list(t, "pf_a"), 1)
	})
	t.Run("an idempotency key with different content is a conflict", func(t *testing.T) {
		f := newFixture(t, returnOriginal)
		f.post(t, eventPath, event(), "Idempotency-Key: k").requireStored(t)
		resp := f.post(t, eventPath, event(`"description":"other"`), "Idempotency-Key: k")
		resp.requireError(t, http.StatusConflict, "IDEMPOTENCY_CHECK_FAILED", "Idempotency-Key")
	})
}

// Small events can replay large ones, so the request does not limit the response.
func TestReturnOriginalResponseSize(t *testing.T) {
	t.Parallel()
	large := `"note":"` + strings.Repeat("x", 1<<20) + `"`
	repeats := func(n int) string {
		return batch(slices.Repeat([]string{event(`"reference":"large"`)}, n)...)
	}
	for name, first := range map[string]string{"of a stored event": "", "of an event in the same batch": event(`"reference":"large"`, large)} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, returnOriginal, keepUnknown)
			if first == "" {
				f.post(t, eventPath, event(`"reference":"large"`, large)).requireStored(t)
			}
			stored := f.list(t, "pf_a")
			send := func(n int) response {
				return f.post(t, eventsPath, strings.Replace(repeats(n), "[", "["+first+strings.Repeat(",", min(1, len(first))), 1))
			}
			resp := send(16)
			resp.requireError(t, http.StatusRequestEntityTooLarge, "BAD_REQUEST", "")
			require.Contains(t, resp.body["message"], "nothing was stored")
			require.Len(t, f.list(t, "pf_a"), len(stored))
			for _, e := range send(15).events(t) {
				require.Len(t, e["note"], 1<<20)
			}
			require.Len(t, f.list(t, "pf_a"), 1)
		})
	}
	t.Run("a response as large as the request is not limited", func(t *testing.T) {
		f := newFixture(t, returnOriginal, keepUnknown, func(c *chargeingest.Config) { c.MaxBodyBytes = 32 << 20 })
		body := batch(slices.Repeat([]string{event(`"reference":"large"`, large)}, 20)...)
		f.post(t, eventsPath, body).requireStored(t)
		require.Equal(t, http.StatusCreated, f.post(t, eventsPath, body).status)
	})
}

func TestDuplicatesInABatch(t *testing.T) {
	t.Parallel()
	const a, b, c = `"reference":"a"`, `"reference":"b"`, `"reference":"c"`
	t.Run("equal events are stored once and returned twice", func(t *testing.T) {
		f := newFixture(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(`"customer_id":null`, a)))
		got.requireStored(t)
		events := got.events(t)
		require.Equal(t, events[0], events[2])
		require.NotEqual(t, events[0]["id"], events[1]["id"])
		require.Equal(t, []any{events[0], events[1]}, f.list(t, "pf_a"))
	})
	t.Run("different events with one reference conflict at the second", func(t *testing.T) {
		f := newFixture(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(a, `"value":{"number":"2"}`)))
		got.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Contains(t, got.body["message"], "value")
		f.requireNothingStored(t)
	})
	t.Run("a conflict with a stored event has the field of the sent event", func(t *testing.T) {
		f := newFixture(t)
		stored := f.post(t, eventPath, event(b)).requireStored(t)
		got := f.post(t, eventsPath, batch(event(), event(a), event(b, `"description":"x"`), event(c)))
		got.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "charge_datas.2.reference")
		require.Equal(t, stored["id"], got.body["resource_id"])
		require.Contains(t, got.body["message"], "description")
		require.Equal(t, []any{stored}, f.list(t, "pf_a"), "no event of the batch is stored")
	})
	t.Run("replays and new events in one batch", func(t *testing.T) {
		f := newFixture(t)
		old := f.post(t, eventPath, event(b)).requireStored(t)
		got := f.post(t, eventsPath, batch(event(a), event(b), event(c), event()))
		got.requireStored(t)
		events := got.events(t)
		require.Equal(t, old, events[1])
		require.Equal(t, []any{old, events[0], events[2], events[3]}, f.list(t, "pf_a"))
	})
	t.Run("only replays", func(t *testing.T) {
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
		{"one stored event", batch(event(b), event(a)), nil, "1"},
		{"only stored events", batch(event(a), event(b)), nil, "2"},
		{"an event twice", batch(event(c), event(c)), nil, "1"},
		{"a new idempotency key", batch(event(), event()), []string{key}, "0"},
		{"a recorded idempotency key", batch(event(), event()), []string{key}, "2"},
	} {
		t.Run(s.name, func(t *testing.T) {
			got := f.post(t, eventsPath, s.body, s.headers...)
			require.Equal(t, http.StatusCreated, got.status, got.text)
			require.Equal(t, []string{s.want}, got.header.Values("Idempotent-Replayed-Count"))
			require.Equal(t, s.want == strconv.Itoa(len(got.events(t))), got.header.Get("Idempotent-Replayed") == "true")
		})
	}
	t.Run("not for a single event", func(t *testing.T) {
		for range 2 {
			got := f.post(t, eventPath, event(`"reference":"single"`))
			require.Equal(t, http.StatusCreated, got.status)
			require.Empty(t, got.header.Values("Idempotent-Replayed-Count"))
		}
	})
	t.Run("not for a rejected batch", func(t *testing.T) {
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
		{"one event with a reference", eventPath, event(`"reference":"r"`), nil, 1},
		{"one event with an idempotency key", eventPath, event(), []string{"Idempotency-Key: k"}, 1},
		{"a batch with an idempotency key", eventsPath, batch(event(), event(), event()), []string{"Idempotency-Key: k"}, 3},
		{"a batch with references", eventsPath, batch(event(`"reference":"a"`), event(`"reference":"b"`)), nil, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			first := 0
			var responses []response
			for _, resp := range responsesOf(t, f.handler, 100, func(int) *http.Request {
				return request(http.MethodPost, c.path, strings.NewReader(c.body), c.headers...)
			}) {
				require.Equal(t, http.StatusCreated, resp.status, resp.text)
				if resp.header.Get("Idempotent-Replayed") == "" {
					first++
				}
				responses = append(responses, resp)
			}
			require.Equal(t, 1, first, "all but one are replays")
			for _, resp := range responses {
				require.Equal(t, responses[0].text, resp.text)
			}
			require.Len(t, f.list(t, "pf_a"), c.stored)
		})
	}
	t.Run("different events with one reference conflict with the stored one", func(t *testing.T) {
		f := newFixture(t)
		conflicts := make(map[any]int)
		for _, resp := range responsesOf(t, f.handler, 100, func(i int) *http.Request {
			return request(http.MethodPost, eventPath, strings.NewReader(event(`"reference":"r"`, fmt.Sprintf(`"description":"%d"`, i))))
		}) {
			if resp.status == http.StatusConflict {
				conflicts[resp.body["resource_id"]]++
			}
		}
		stored := f.list(t, "pf_a")
		require.Len(t, stored, 1)
		require.Equal(t, map[any]int{valueAt(stored, "0.id"): 99}, conflicts)
	})
}
