package chargeingest_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

// rule is an event and what becomes of it: taken where code is empty, refused
// with that code on that field otherwise.
type rule struct {
	name, event, code, field string
}

// requireRules sends each event by itself and as the second one of a batch. Of
// one that is refused the store hears nothing.
func requireRules(t *testing.T, rules []rule, settings ...func(*chargeingest.Config)) {
	t.Helper()
	store := memstore.New()
	batches := 0
	f := newFixture(t, append(settings, over(storeFunc(
		func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
			batches++
			return store.Append(ctx, b)
		})))...)
	good := event(`"reference":"good"`)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			batches = 0
			one := f.post(t, eventPath, r.event)
			two := f.post(t, eventsPath, batch(good, r.event))
			if r.code == "" {
				require.Equal(t, http.StatusCreated, one.status, one.text)
				require.Equal(t, http.StatusCreated, two.status, two.text)
				return
			}
			one.requireError(t, http.StatusBadRequest, r.code, r.field)
			two.requireError(t, http.StatusBadRequest, r.code, "charge_datas.1."+r.field)
			require.Zero(t, batches)
		})
	}
}

// member makes the event in which the member at a path, such as value.amount,
// has a JSON value. In an amount the other member is there too.
func member(path, value string) string {
	parts := strings.Split(path, ".")
	text := quoted(parts[len(parts)-1]) + ":" + value
	for _, parent := range slices.Backward(parts[:len(parts)-1]) {
		switch parts[len(parts)-1] {
		case "quantity":
			text += `,"currency":"EUR"`
		case "currency":
			text += `,"quantity":"1"`
		}
		parts = parts[:len(parts)-1]
		text = quoted(parent) + ":{" + text + "}"
	}
	return event(text)
}

var (
	requiredIdentifiers = []string{"product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id"}
	nullableIdentifiers = []string{
		"customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference", "value.id", "value.reference",
	}
)

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	var rules []rule
	for _, field := range append(requiredIdentifiers, nullableIdentifiers...) {
		add := func(name, value, code string) {
			rules = append(rules, rule{field + " " + name, member(field, value), code, field})
		}
		add("of 1 character", `"x"`, "")
		add("of 256 characters", quoted(strings.Repeat("x", 256)), "")
		add("of 256 characters, not bytes", quoted(strings.Repeat("é", 256)), "")
		add("of 256 characters beyond the basic plane", quoted(strings.Repeat("😀", 256)), "")
		add("of blanks, quotes, slashes and U+0080", `" \"\\/\u0080"`, "")
		add("of 257 characters", quoted(strings.Repeat("x", 257)), "INVALID_FIELD")
		add("of 257 characters, not bytes", quoted(strings.Repeat("é", 257)), "INVALID_FIELD")
		add("that is empty", `""`, "INVALID_FIELD")
		for c := range 0x80 {
			if c <= 0x1f || c == 0x7f {
				add(fmt.Sprintf("with the control character U+%04X", c), fmt.Sprintf(`"a\u%04xb"`, c), "INVALID_FIELD")
			}
		}
		for _, value := range []string{`1`, `true`, `["x"]`, `{"x":"y"}`} {
			add("that is no string: "+value, value, "INVALID_FIELD")
		}
	}
	for _, field := range requiredIdentifiers {
		rules = append(rules,
			rule{field + " required and absent", event("-" + field), "MISSING_FIELD", field},
			rule{field + " required and null", member(field, "null"), "INVALID_FIELD", field})
	}
	for _, field := range nullableIdentifiers {
		rules = append(rules, rule{field + " null", member(field, "null"), "", ""})
	}
	rules = append(rules, rule{"every optional field absent", event(), "", ""})
	requireRules(t, rules)
}

// TestReferenceAndDescriptionPatterns tries every ASCII
// character, alone and last, against the published patterns.
func TestReferenceAndDescriptionPatterns(t *testing.T) {
	t.Parallel()
	for field, class := range map[string]*regexp.Regexp{
		"reference":   regexp.MustCompile(`^[a-zA-Z0-9_\-]$`),
		"description": regexp.MustCompile(`^[a-zA-Z0-9_\- \t\n\v\f\r+]$`),
	} {
		var rules []rule
		add := func(name, value, code string) {
			rules = append(rules, rule{field + " " + name, member(field, value), code, field})
		}
		for c := range rune(0x80) {
			code := "INVALID_FIELD"
			if class.MatchString(string(c)) {
				code = ""
			}
			add(fmt.Sprintf("of U+%04X", c), quoted(string(c)), code)
			add(fmt.Sprintf("that ends in U+%04X", c), quoted("a"+string(c)), code)
		}
		for _, c := range []rune{0x85, 0xa0, 0x1680, 0x2028, 0x3000, 0xfeff, 0x212a, 0x0663, 0xff0b, 'é'} {
			add(fmt.Sprintf("with U+%04X", c), quoted("a"+string(c)+"b"), "INVALID_FIELD")
		}
		add("that is empty", `""`, "")
		add("that is null", `null`, "")
		add("of 256 characters", quoted(strings.Repeat("x", 256)), "")
		add("of 257 characters", quoted(strings.Repeat("x", 257)), "INVALID_FIELD")
		for _, value := range []string{`1`, `true`, `["x"]`, `{}`} {
			add("that is no string: "+value, value, "INVALID_FIELD")
		}
		requireRules(t, rules)
	}
}

func TestReadOnlyFields(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, value := range []string{`null`, `"chda_01ARZ3NDEKTSV4RRFFQ69G5FAV"`, `""`, `0`, `-1.5e3`, `true`, `[]`, `[1,{"a":null}]`, `{}`, `{"a":{"b":["c"]}}`, quoted(strings.Repeat("x", 1000))} {
		for _, field := range []string{"id", "object_type"} {
			t.Run(field+" may hold any JSON value: "+value[:min(len(value), 40)], func(t *testing.T) {
				stored := f.post(t, eventPath, member(field, value)).requireStored(t)
				require.Equal(t, "CHARGE_DATA", stored["object_type"])
				require.Regexp(t, `^chda_[0-9A-Z]{26}$`, stored["id"])
				require.NotEqual(t, "chda_01ARZ3NDEKTSV4RRFFQ69G5FAV", stored["id"])
				require.Len(t, f.post(t, eventsPath, batch(member(field, value))).events(t), 1)
			})
		}
	}
	t.Run("ids sort by time of receipt", func(t *testing.T) {
		f := newFixture(t)
		var ids []string
		for range 20 {
			ids = append(ids, f.post(t, eventPath, event()).requireStored(t)["id"].(string))
			for _, e := range f.post(t, eventsPath, batch(event(), event(), event())).events(t) {
				ids = append(ids, e["id"].(string))
			}
			f.advance(time.Millisecond)
		}
		require.True(t, slices.IsSorted(ids))
		require.Len(t, slices.Compact(ids), 80, "no id comes twice")
	})
}

func TestAbsentTimestamp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, body := range map[string]string{"absent": event(), "null": event(`"timestamp":null`)} {
		t.Run(name+": in UTC, whole seconds", func(t *testing.T) {
			stored := f.post(t, eventPath, body).requireStored(t)
			require.Equal(t, "2026-09-01T12:00:00Z", stored["timestamp"])
		})
	}
	t.Run("one time for a whole batch", func(t *testing.T) {
		for _, e := range f.post(t, eventsPath, batch(event(), event(`"timestamp":null`))).events(t) {
			require.Equal(t, "2026-09-01T12:00:00Z", e["timestamp"])
		}
	})
}

func TestResponseHasSentFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, members, want string }{
		{
			"every scalar field, null where unset", ``,
			`"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":"2026-09-01T12:00:00Z"`,
		},
		{
			"every scalar field, as sent", `"customer_id":" é","customer_reference":"b","pricing_plan_subscription_id":"c","pricing_plan_subscription_reference":"d","reference":"","description":" \t","timestamp":"2026-09-01t00:00:00.10z"`,
			`"customer_id":" é","customer_reference":"b","pricing_plan_subscription_id":"c","pricing_plan_subscription_reference":"d","reference":"","description":" \t","timestamp":"2026-09-01t00:00:00.10z"`,
		},
		{
			"each object field that was sent, its nulls dropped", `"value":{"id":null,"reference":null,"number":null,"count":null},"period":{"ratio":null},"pricing_plan_subscription_selector":{"data":null,"rules":null,"filters":null,"fallback":null}`,
			`"value":{},"period":{},"pricing_plan_subscription_selector":{}`,
		},
		{
			"its empty lists kept", `"pricing_plan_subscription_selector":{"data":[],"rules":[],"filters":[]}`,
			`"pricing_plan_subscription_selector":{"data":[],"rules":[],"filters":[]}`,
		},
		{
			"each object field that was sent, whole",
			`"value":{"id":"i","reference":"r","number":"0.10","amount":{"quantity":"-0","currency":"EUR"},"count":"007"},"period":{"start_at":"2026-05-01T00:00:00+02:00","end_at":"2026-05-31T22:00:00Z","ratio":"1.0"},"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":""}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL"},{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"NONE"}`,
			`"value":{"id":"i","reference":"r","number":"0.10","amount":{"quantity":"-0","currency":"EUR"},"count":"007"},"period":{"start_at":"2026-05-01T00:00:00+02:00","end_at":"2026-05-31T22:00:00Z","ratio":"1.0"},"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":""}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL"},{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"NONE"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			var members []string
			if c.members != "" {
				members = []string{c.members}
			}
			a := f.post(t, eventPath, event(members...))
			stored := a.requireStored(t)
			want := event(`"object_type":"CHARGE_DATA"`, `"id":`+quoted(stored["id"].(string)), c.want)
			if !strings.Contains(c.want, `"timestamp"`) {
				want = strings.TrimSuffix(want, "}") + `,"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,` +
					`"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":"2026-09-01T12:00:00Z"}`
			}
			require.JSONEq(t, want, a.text)
			require.JSONEq(t, want, f.get(t, eventPath+"/"+stored["id"].(string)).text, "GET responses the same")
			require.Equal(t, []any{stored}, f.list(t, "pf_a"), "and so does the list")
		})
	}
	t.Run("null for a nullable field means the same as leaving it out", func(t *testing.T) {
		f := newFixture(t)
		absent := f.post(t, eventPath, event()).requireStored(t)
		null := f.post(t, eventPath, event(`"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,`+
			`"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":null`)).requireStored(t)
		delete(absent, "id")
		delete(null, "id")
		require.Equal(t, absent, null)
	})
}

// objectPlaces are the objects of an event: each is opened by the text that a
// member can be put behind, and found again at the path.
var objectPlaces = []struct{ path, opening string }{
	{"", `{`},
	{"value", `"value":{`},
	{"value.amount", `"amount":{`},
	{"period", `"period":{`},
	{"pricing_plan_subscription_selector", `"pricing_plan_subscription_selector":{`},
	{"pricing_plan_subscription_selector.data.0", `"data":[{`},
	{"pricing_plan_subscription_selector.rules.0", `"rules":[{`},
	{"pricing_plan_subscription_selector.filters.0", `"filters":[{`},
}

const fullEvent = `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",` +
	`"customer_id":"cust_1","customer_reference":"acme","pricing_plan_subscription_id":"pps_1","pricing_plan_subscription_reference":"main",` +
	`"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],` +
	`"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL"}],"fallback":"LATEST"},` +
	`"reference":"r-1","description":"GPU hours","value":{"id":"v","reference":"w","number":"12.50","amount":{"quantity":"0.10","currency":"EUR"},"count":"7"},` +
	`"period":{"start_at":"2026-05-01T00:00:00Z","end_at":"2026-06-01T00:00:00Z","ratio":"0.5"},"timestamp":"2026-09-01T09:00:29+09:00"}`

// fullWith is fullEvent with a member more in one of its objects.
func fullWith(opening, member string) string {
	return strings.Replace(fullEvent, opening, opening+member+",", 1)
}

func joined(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func TestUnknownFields(t *testing.T) {
	t.Parallel()
	rules := []rule{
		{"the full event has none", fullEvent, "", ""},
		{"names are case-sensitive", event(`"Reference":"r"`), "INVALID_FIELD", "Reference"},
		{"names are whole", event(`"reference ":"r"`), "INVALID_FIELD", "reference "},
	}
	for _, p := range objectPlaces {
		for _, value := range []string{`"x"`, `null`, `{"a":[]}`, `1`} {
			field := joined(p.path, "referenz")
			rules = append(rules, rule{field + " of " + value, fullWith(p.opening, `"referenz":`+value), "INVALID_FIELD", field})
		}
	}
	requireRules(t, rules)
	t.Run("beside charge_datas too", func(t *testing.T) {
		f := newFixture(t)
		a := f.post(t, eventsPath, `{"charge_datas":[`+event()+`],"charge_data":1}`)
		a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "charge_data")
		f.requireNothingStored(t)
	})
}

func TestKeepUnknownFields(t *testing.T) {
	t.Parallel()
	// Numbers keep their spelling, members their order, nulls their place.
	const value = `{"z":[1.0,1e5,-0,12345678901234567890,true,null,{"b":"\u0061","a":{}}],"y":null,"é":""}`
	for _, p := range objectPlaces {
		t.Run("in "+joined(p.path, "the event"), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			sent := fullWith(p.opening, `"unknown":`+value)
			a := f.post(t, eventPath, sent)
			stored := a.requireStored(t)
			require.Contains(t, a.text, `"unknown":`+value)
			got := f.get(t, eventPath+"/"+stored["id"].(string))
			require.Equal(t, a.text, got.text)
			require.NotNil(t, at(got.body, joined(p.path, "unknown")), "it is where it was sent")
			require.Equal(t, []any{stored}, f.list(t, "pf_a"))
			f.post(t, eventPath, sent).requireReplayOf(t, a)
			require.Equal(t, stored, f.post(t, eventsPath, batch(sent)).events(t)[0])
		})
		t.Run("other content in it is other content, in "+joined(p.path, "the event"), func(t *testing.T) {
			f := newFixture(t, keepUnknown)
			f.post(t, eventPath, fullWith(p.opening, `"unknown":1`)).requireStored(t)
			a := f.post(t, eventPath, fullWith(p.opening, `"unknown":2`))
			a.requireError(t, http.StatusConflict, "RESOURCE_ALREADY_EXISTS", "reference")
			require.Contains(t, a.body["message"], joined(p.path, "unknown"))
		})
	}
	t.Run("known fields keep their rules", func(t *testing.T) {
		f := newFixture(t, keepUnknown)
		a := f.post(t, eventPath, event(`"unknown":1`, `"value":{"number":1,"unknown":1}`))
		a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", "value.number")
		require.Len(t, a.violations(t), 1)
	})
}

func TestEventSettings(t *testing.T) {
	t.Parallel()
	skew := func(c *chargeingest.Config) { c.MaxFutureSkew = time.Hour }
	require.Equal(t, "2026-09-01T14:00:00.987654321+02:00", receipt.Format(time.RFC3339Nano))
	t.Run("MaxFutureSkew", func(t *testing.T) {
		requireRules(t, []rule{
			{"a timestamp as far ahead as allowed", event(`"timestamp":"2026-09-01T13:00:00.987654321Z"`), "", ""},
			{"a timestamp a nanosecond further", event(`"timestamp":"2026-09-01T13:00:00.987654322Z"`), "INVALID_FIELD", "timestamp"},
			{"its offset counts", event(`"timestamp":"2026-09-01T12:30:00-02:00"`), "INVALID_FIELD", "timestamp"},
			{"the last year", event(`"timestamp":"9999-12-31T23:59:59Z"`), "INVALID_FIELD", "timestamp"},
			{"the past", event(`"timestamp":"0001-01-01T00:00:00Z"`), "", ""},
			{"none", event(), "", ""},
		}, skew)
		requireRules(t, []rule{{"off by default", event(`"timestamp":"9999-12-31T23:59:59Z"`), "", ""}})
	})
	t.Run("RequireReference", func(t *testing.T) {
		needed := func(c *chargeingest.Config) { c.RequireReference = true }
		requireRules(t, []rule{
			{"an event without one", event(), "MISSING_FIELD", "reference"},
			{"null is none", event(`"reference":null`), "MISSING_FIELD", "reference"},
			{"an empty one is none", event(`"reference":""`), "MISSING_FIELD", "reference"},
			{"one that is malformed", event(`"reference":"a b"`), "INVALID_FIELD", "reference"},
		}, needed)
		requireRules(t, []rule{{"an event with one", event(`"reference":"r"`), "", ""}}, needed)
		requireRules(t, []rule{{"off by default", event(), "", ""}})
	})
}
