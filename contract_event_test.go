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

type ruleCase struct {
	name, event, code, field string
}

func requireRules(t *testing.T, rules []ruleCase, settings ...func(*chargeingest.Config)) {
	t.Helper()
	store := memstore.New()
	batches := 0
	f := newFixture(t, append(settings, withStore(storeFunc(
		func(ctx context.Context, b chargeingest.Batch) (chargeingest.AppendResult, error) {
			batches++
			return store.Append(ctx, b)
		})))...)
	valid := event(`"reference":"valid"`)
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			batches = 0
			one := f.post(t, eventPath, r.event)
			two := f.post(t, eventsPath, batch(valid, r.event))
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

var (
	requiredIdentifiers = []string{"product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id"}
	nullableIdentifiers = []string{
		"customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference", "value.id", "value.reference",
	}
)

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	var rules []ruleCase
	for _, field := range append(requiredIdentifiers, nullableIdentifiers...) {
		add := func(name, value, code string) {
			rules = append(rules, ruleCase{field + " " + name, eventWithField(field, value), code, field})
		}
		add("of 1 character", `"x"`, "")
		add("of 256 characters", quoted(strings.Repeat("x", 256)), "")
		add("of 256 two-byte characters", quoted(strings.Repeat("é", 256)), "")
		add("of 256 four-byte characters", quoted(strings.Repeat("😀", 256)), "")
		add("of blanks, quotes, slashes and U+0080", `" \"\\/\u0080"`, "")
		add("of 257 characters", quoted(strings.Repeat("x", 257)), "INVALID_FIELD")
		add("of 257 two-byte characters", quoted(strings.Repeat("é", 257)), "INVALID_FIELD")
		add("that is empty", `""`, "INVALID_FIELD")
		for c := range 0x80 {
			if c <= 0x1f || c == 0x7f {
				add(fmt.Sprintf("with the control character U+%04X", c), fmt.Sprintf(`"a\u%04xb"`, c), "INVALID_FIELD")
			}
		}
		for _, value := range []string{`1`, `true`, `["x"]`, `{"x":"y"}`} {
			add("that is not a string: "+value, value, "INVALID_FIELD")
		}
	}
	for _, field := range requiredIdentifiers {
		rules = append(rules,
			ruleCase{field + " absent", event("-" + field), "MISSING_FIELD", field},
			ruleCase{field + " null", eventWithField(field, "null"), "INVALID_FIELD", field})
	}
	for _, field := range nullableIdentifiers {
		rules = append(rules, ruleCase{field + " null", eventWithField(field, "null"), "", ""})
	}
	rules = append(rules, ruleCase{"every optional field absent", event(), "", ""})
	requireRules(t, rules)
}

func TestReferenceAndDescriptionPatterns(t *testing.T) {
	t.Parallel()
	for field, class := range map[string]*regexp.Regexp{
		"reference":   regexp.MustCompile(`^[a-zA-Z0-9_\-]$`),
		"description": regexp.MustCompile(`^[a-zA-Z0-9_\- \t\n\v\f\r+]$`),
	} {
		var rules []ruleCase
		add := func(name, value, code string) {
			rules = append(rules, ruleCase{field + " " + name, eventWithField(field, value), code, field})
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
			add("that is not a string: "+value, value, "INVALID_FIELD")
		}
		requireRules(t, rules)
	}
}

func TestReadOnlyFields(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, value := range []string{`null`, `"chda_01ARZ3NDEKTSV4RRFFQ69G5FAV"`, `""`, `0`, `-1.5e3`, `true`, `[]`, `[1,{"a":null}]`, `{}`, `{"a":{"b":["c"]}}`, quoted(strings.Repeat("x", 1000))} {
		for _, field := range []string{"id", "object_type"} {
			t.Run(field+" can have any JSON value: "+value[:min(len(value), 40)], func(t *testing.T) {
				stored := f.post(t, eventPath, eventWithField(field, value)).requireStored(t)
				require.Equal(t, "CHARGE_DATA", stored["object_type"])
				require.Regexp(t, `^chda_[0-9A-Z]{26}$`, stored["id"])
				require.NotEqual(t, "chda_01ARZ3NDEKTSV4RRFFQ69G5FAV", stored["id"])
				require.Len(t, f.post(t, eventsPath, batch(eventWithField(field, value))).events(t), 1)
			})
		}
	}
	t.Run("ids are sorted by time", func(t *testing.T) {
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
		require.Len(t, slices.Compact(ids), 80, "ids are unique")
	})
}

func TestAbsentTimestamp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, body := range map[string]string{"absent": event(), "null": event(`"timestamp":null`)} {
		t.Run(name+": whole seconds in UTC", func(t *testing.T) {
			stored := f.post(t, eventPath, body).requireStored(t)
			require.Equal(t, "2026-09-01T12:00:00Z", stored["timestamp"])
		})
	}
	t.Run("the same time for all events of a batch", func(t *testing.T) {
		for _, e := range f.post(t, eventsPath, batch(event(), event(`"timestamp":null`))).events(t) {
			require.Equal(t, "2026-09-01T12:00:00Z", e["timestamp"])
		}
	})
}

func TestResponseHasSentFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, fields, want string }{
		{
			"all scalar fields, null if absent", ``,
			`"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":"2026-09-01T12:00:00Z"`,
		},
		{
			"all scalar fields as sent", `"customer_id":" é","customer_reference":"b","pricing_plan_subscription_id":"c","pricing_plan_subscription_reference":"d","reference":"","description":" \t","timestamp":"2026-09-01t00:00:00.10z"`,
			`"customer_id":" é","customer_reference":"b","pricing_plan_subscription_id":"c","pricing_plan_subscription_reference":"d","reference":"","description":" \t","timestamp":"2026-09-01t00:00:00.10z"`,
		},
		{
			"sent objects without their null fields", `"value":{"id":null,"reference":null,"number":null,"count":null},"period":{"ratio":null},"pricing_plan_subscription_selector":{"data":null,"rules":null,"filters":null,"fallback":null}`,
			`"value":{},"period":{},"pricing_plan_subscription_selector":{}`,
		},
		{
			"empty lists", `"pricing_plan_subscription_selector":{"data":[],"rules":[],"filters":[]}`,
			`"pricing_plan_subscription_selector":{"data":[],"rules":[],"filters":[]}`,
		},
		{
			"complete objects",
			`"value":{"id":"i","reference":"r","number":"0.10","amount":{"quantity":"-0","currency":"EUR"},"count":"007"},"period":{"start_at":"2026-05-01T00:00:00+02:00","end_at":"2026-05-31T22:00:00Z","ratio":"1.0"},"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":""}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL"},{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"NONE"}`,
			`"value":{"id":"i","reference":"r","number":"0.10","amount":{"quantity":"-0","currency":"EUR"},"count":"007"},"period":{"start_at":"2026-05-01T00:00:00+02:00","end_at":"2026-05-31T22:00:00Z","ratio":"1.0"},"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":""}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL"},{"field":"PRICING_PLAN_REFERENCE","type":"EMPTY"}],"fallback":"NONE"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			var fields []string
			if c.fields != "" {
				fields = []string{c.fields}
			}
			resp := f.post(t, eventPath, event(fields...))
			stored := resp.requireStored(t)
			want := event(`"object_type":"CHARGE_DATA"`, `"id":`+quoted(stored["id"].(string)), c.want)
			if !strings.Contains(c.want, `"timestamp"`) {
				want = strings.TrimSuffix(want, "}") + `,"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,` +
					`"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":"2026-09-01T12:00:00Z"}`
			}
			require.JSONEq(t, want, resp.text)
			require.JSONEq(t, want, f.get(t, eventPath+"/"+stored["id"].(string)).text, "GET returns the same")
			require.Equal(t, []any{stored}, f.list(t, "pf_a"), "the list contains it")
		})
	}
	t.Run("null equals absent", func(t *testing.T) {
		f := newFixture(t)
		absent := f.post(t, eventPath, event()).requireStored(t)
		null := f.post(t, eventPath, event(`"customer_id":null,"customer_reference":null,"pricing_plan_subscription_id":null,`+
			`"pricing_plan_subscription_reference":null,"reference":null,"description":null,"timestamp":null`)).requireStored(t)
		delete(absent, "id")
		delete(null, "id")
		require.Equal(t, absent, null)
	})
}

func TestEventSettings(t *testing.T) {
	t.Parallel()
	skew := func(c *chargeingest.Config) { c.MaxFutureSkew = time.Hour }
	require.Equal(t, "2026-09-01T14:00:00.987654321+02:00", receivedAt.Format(time.RFC3339Nano))
	t.Run("MaxFutureSkew", func(t *testing.T) {
		requireRules(t, []ruleCase{
			{"a timestamp at the limit", event(`"timestamp":"2026-09-01T13:00:00.987654321Z"`), "", ""},
			{"a timestamp one nanosecond later", event(`"timestamp":"2026-09-01T13:00:00.987654322Z"`), "INVALID_FIELD", "timestamp"},
			{"a timestamp with an offset", event(`"timestamp":"2026-09-01T12:30:00-02:00"`), "INVALID_FIELD", "timestamp"},
			{"the last year", event(`"timestamp":"9999-12-31T23:59:59Z"`), "INVALID_FIELD", "timestamp"},
			{"the past", event(`"timestamp":"0001-01-01T00:00:00Z"`), "", ""},
			{"no timestamp", event(), "", ""},
		}, skew)
		requireRules(t, []ruleCase{{"off by default", event(`"timestamp":"9999-12-31T23:59:59Z"`), "", ""}})
	})
	t.Run("RequireReference", func(t *testing.T) {
		required := func(c *chargeingest.Config) { c.RequireReference = true }
		requireRules(t, []ruleCase{
			{"no reference", event(), "MISSING_FIELD", "reference"},
			{"a null reference", event(`"reference":null`), "MISSING_FIELD", "reference"},
			{"an empty reference", event(`"reference":""`), "MISSING_FIELD", "reference"},
			{"a malformed reference", event(`"reference":"a b"`), "INVALID_FIELD", "reference"},
		}, required)
		requireRules(t, []ruleCase{{"a valid reference", event(`"reference":"r"`), "", ""}}, required)
		requireRules(t, []ruleCase{{"off by default", event(), "", ""}})
	})
}
