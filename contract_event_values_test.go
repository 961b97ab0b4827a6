package chargeingest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const digits38 = "12345678901234567890123456789012345678"

func TestDecimalStrings(t *testing.T) {
	t.Parallel()
	var rules []rule
	for _, field := range []string{"value.number", "value.amount.quantity", "period.ratio"} {
		for _, s := range []string{
			"0", "7", "-7", "00.10", "-0", "-0.0", "1.000", "0.157100201142", digits38, "-" + digits38, "0." + digits38[1:], digits38[:37] + ".8", "-" + digits38[:19] + "." + digits38[19:],
		} {
			rules = append(rules, rule{field + " of " + s, member(field, quoted(s)), "", ""})
		}
		for _, s := range []string{
			"", "-", "+1", ".5", "5.", "-.5", "1e5", "1E5", "1.0e-2", "1,5", "1_000", " 1", "1 ", "1\n", "1.2.3", "--1", "1-", "NaN", "Infinity", "0x1f", "one", "٣", "１",
			digits38 + "9", "-" + digits38 + "9", "0." + digits38, digits38 + ".0", strings.Repeat("0", 39), strings.Repeat("9", 5000),
		} {
			rules = append(rules, rule{field + " of " + quoted(s[:min(len(s), 60)]), member(field, quoted(s)), "INVALID_FIELD", field})
		}
		for _, value := range []string{`1`, `0`, `-1.5`, `1e400`, `true`, `["1"]`, `{"a":"1"}`} {
			rules = append(rules, rule{field + " of the JSON " + value, member(field, value), "INVALID_FIELD", field})
		}
	}
	rules = append(rules,
		rule{"value.number null", member("value.number", "null"), "", ""},
		rule{"period.ratio null", member("period.ratio", "null"), "", ""},
		rule{"value.amount.quantity null", member("value.amount.quantity", "null"), "INVALID_FIELD", "value.amount.quantity"})
	requireRules(t, rules)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var rules []rule
	for _, value := range []string{`"0"`, `"-0"`, `"007"`, `"-12"`, quoted(digits38), quoted("-" + digits38), `null`} {
		rules = append(rules, rule{"count of " + value, member("value.count", value), "", ""})
	}
	for _, value := range []string{`""`, `"-"`, `"+1"`, `"1.0"`, `"1."`, `"1e2"`, `" 1"`, `"1\n"`, `"٣"`, quoted(digits38 + "9"), `1`, `1.0`, `true`, `[]`, `{}`} {
		rules = append(rules, rule{"count of " + value, member("value.count", value), "INVALID_FIELD", "value.count"})
	}
	requireRules(t, rules)
}

func TestJSONNumberForDecimal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, field := range []string{"value.number", "value.amount.quantity", "value.count", "period.ratio"} {
		t.Run(field, func(t *testing.T) {
			a := f.post(t, eventPath, member(field, "12.5"))
			a.requireError(t, http.StatusBadRequest, "INVALID_FIELD", field)
			require.Contains(t, a.body["message"], "quoted string")
			require.NotContains(t, f.post(t, eventPath, member(field, `"x"`)).body["message"], "JSON number")
		})
	}
}

func TestValueAndAmount(t *testing.T) {
	t.Parallel()
	const amount = "value.amount"
	rules := []rule{
		{"value of no members", event(`"value":{}`), "", ""},
		{"value of one member", event(`"value":{"count":"1"}`), "", ""},
		{"value is not nullable", event(`"value":null`), "INVALID_FIELD", "value"},
		{"value is an object, no string", event(`"value":"1"`), "INVALID_FIELD", "value"},
		{"value is an object, no list", event(`"value":[]`), "INVALID_FIELD", "value"},
		{"value is an object, no number", event(`"value":1`), "INVALID_FIELD", "value"},
		{"amount is not nullable", member(amount, `null`), "INVALID_FIELD", amount},
		{"amount is an object", member(amount, `"1 EUR"`), "INVALID_FIELD", amount},
		{"amount needs a quantity", member(amount, `{"currency":"EUR"}`), "MISSING_FIELD", amount + ".quantity"},
		{"amount needs a currency", member(amount, `{"quantity":"1"}`), "MISSING_FIELD", amount + ".currency"},
		{"currency null", member(amount+".currency", `null`), "INVALID_FIELD", amount + ".currency"},
		{"currency of no country", member(amount+".currency", `"XXZ"`), "", ""},
	}
	for _, currency := range []string{`""`, `"EU"`, `"EURO"`, `"eur"`, `"Eur"`, `"E1R"`, `"ÉUR"`, `"EUR\n"`, `" EUR"`, `978`, `["EUR"]`} {
		rules = append(rules, rule{"currency of " + currency, member(amount+".currency", currency), "INVALID_FIELD", amount + ".currency"})
	}
	requireRules(t, rules)
}

func TestDigitsAreKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, s := range []string{"0.10", "-0", "1.000", "000", "0.1", "0.30000000000000004", "9007199254740993", "-" + digits38, "0.0000000000000000000000000000000000001"} {
		t.Run(s, func(t *testing.T) {
			stored := f.post(t, eventPath, event(`"value":{"number":`+quoted(s)+`,"amount":{"quantity":`+quoted(s)+`,"currency":"EUR"}}`, `"period":{"ratio":`+quoted(s)+`}`)).requireStored(t)
			got := f.get(t, eventPath+"/"+stored["id"].(string)).body
			for _, e := range []map[string]any{stored, got} {
				for _, path := range []string{"value.number", "value.amount.quantity", "period.ratio"} {
					require.Equal(t, s, at(e, path))
				}
			}
		})
	}
}

func TestPeriod(t *testing.T) {
	t.Parallel()
	period := func(members string) string { return event(`"period":{` + members + `}`) }
	requireRules(t, []rule{
		{"of no members", period(``), "", ""},
		{"of a start alone", period(`"start_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"of an end alone", period(`"end_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"of a ratio alone", period(`"ratio":"0.5"`), "", ""},
		{"is not nullable", event(`"period":null`), "INVALID_FIELD", "period"},
		{"is an object", event(`"period":"2026-05"`), "INVALID_FIELD", "period"},
		{"start_at is not nullable", period(`"start_at":null`), "INVALID_FIELD", "period.start_at"},
		{"end_at is not nullable", period(`"end_at":null`), "INVALID_FIELD", "period.end_at"},
		{"an end at the start", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"an end before the start", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-04-30T23:59:59.999999999Z"`), "INVALID_FIELD", "period.end_at"},
		{"an end before the start, sent first", period(`"end_at":"2026-04-30T00:00:00Z","start_at":"2026-05-01T00:00:00Z"`), "INVALID_FIELD", "period.end_at"},
		{"an end before the start by its offset", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-05-01T00:30:00+01:00"`), "INVALID_FIELD", "period.end_at"},
		{"an end after the start by its offset", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-04-30T23:30:00-01:00"`), "", ""},
		{"from the first year to the last", period(`"start_at":"0001-01-01T00:00:00Z","end_at":"9999-12-31T23:59:59.999999999Z"`), "", ""},
		{"from the last year to the first", period(`"start_at":"9999-12-31T23:59:59.999999999Z","end_at":"0001-01-01T00:00:00Z"`), "INVALID_FIELD", "period.end_at"},
	})
}

func TestDateTimes(t *testing.T) {
	t.Parallel()
	good := []string{
		"2026-09-01T09:00:29+09:00", "2026-09-01T09:00:29Z", "2026-09-01t09:00:29z", "2026-09-01T09:00:29z", "2026-09-01t09:00:29-03:30",
		"2026-09-01T09:00:29.1Z", "2026-09-01T09:00:29.123456789Z", "2026-09-01T09:00:29.000000000+00:00", "2026-09-01T09:00:29.100Z", "2026-09-01T09:00:29-00:00",
		"0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-23:59", "1600-02-29T00:00:00Z", "2024-02-29T23:59:59Z", "1677-01-01T00:00:00Z", "2263-01-01T00:00:00Z",
	}
	bad := []string{
		"", "2026-09-01", "2026-09-01T09:00:29", "2026-09-01T09:00Z", "2026-09-01T09Z", "20260901T090029Z", "2026-W36-2T09:00:29Z", "09:00:29Z", "1788253229", "now",
		"2026-09-01T09:00:60Z", "2016-12-31T23:59:60Z", "2026-09-01T24:00:00Z", "2026-09-01T09:60:00Z", "2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z", "1900-02-29T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-09-00T00:00:00Z", "2026-09-32T00:00:00Z", "0000-01-01T00:00:00Z", "0000-12-31T23:59:59-23:59",
		"2026-09-01T09:00:29.1234567890Z", "2026-09-01T09:00:29.00000000000000Z", "2026-09-01T09:00:29.Z", "2026-09-01T09:00:29,5Z", "2026-09-01T09:00:29+9:00", "2026-09-01T09:00:29+0900", "2026-09-01T09:00:29+09", "2026-09-01T09:00:29+24:00", "2026-09-01T09:00:29+09:60", "2026-09-01T09:00:29Z+01:00",
		"10000-01-01T00:00:00Z", "+2026-09-01T09:00:29Z", "-2026-09-01T09:00:29Z", "26-09-01T09:00:29Z", "2026-9-1T09:00:29Z", " 2026-09-01T09:00:29Z", "2026-09-01T09:00:29Z ", "2026-09-01T09:00:29Z\n", "٢٠٢٦-09-01T09:00:29Z", "2026-09-01T09:00:29 Z", "2026-09-01T9:00:29Z",
	}
	var rules []rule
	for _, field := range []string{"timestamp", "period.start_at", "period.end_at"} {
		for _, s := range good {
			rules = append(rules, rule{field + " of " + s, member(field, quoted(s)), "", ""})
		}
		for _, s := range bad {
			rules = append(rules, rule{field + " of " + quoted(s), member(field, quoted(s)), "INVALID_FIELD", field})
		}
		for _, value := range []string{`1788253229`, `true`, `[]`, `{}`} {
			rules = append(rules, rule{field + " of the JSON " + value, member(field, value), "INVALID_FIELD", field})
		}
	}
	requireRules(t, rules)
	t.Run("what was sent is what is stored and answered, character for character", func(t *testing.T) {
		f := newFixture(t)
		for _, s := range good {
			stored := f.post(t, eventPath, event(`"timestamp":`+quoted(s), `"period":{"start_at":`+quoted(s)+`,"end_at":`+quoted(s)+`}`)).requireStored(t)
			got := f.get(t, eventPath+"/"+stored["id"].(string)).body
			for _, e := range []map[string]any{stored, got} {
				for _, path := range []string{"timestamp", "period.start_at", "period.end_at"} {
					require.Equal(t, s, at(e, path))
				}
			}
		}
	})
}

// selector is an event with a selector of these members.
func selector(members string) string {
	return event(`"pricing_plan_subscription_selector":{` + members + `}`)
}

func TestSelector(t *testing.T) {
	t.Parallel()
	const path = "pricing_plan_subscription_selector"
	rules := []rule{
		{"of no members", selector(``), "", ""},
		{"is not nullable", event(`"` + path + `":null`), "INVALID_FIELD", path},
		{"is an object", event(`"` + path + `":[]`), "INVALID_FIELD", path},
		{"fallback LATEST", selector(`"fallback":"LATEST"`), "", ""},
		{"fallback NONE", selector(`"fallback":"NONE"`), "", ""},
		{"fallback null", selector(`"fallback":null`), "", ""},
		{"fallback of another name", selector(`"fallback":"FIRST"`), "INVALID_FIELD", path + ".fallback"},
		{"fallback in lower case", selector(`"fallback":"latest"`), "INVALID_FIELD", path + ".fallback"},
		{"fallback empty", selector(`"fallback":""`), "INVALID_FIELD", path + ".fallback"},
		{"fallback of another type", selector(`"fallback":1`), "INVALID_FIELD", path + ".fallback"},
		{"a data entry has no type", selector(`"data":[{"field":"PRICING_PLAN_REFERENCE","type":"IN"}]`), "INVALID_FIELD", path + ".data.0.type"},
		{"a rule has no value", selector(`"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"IN","value":"a"}]`), "INVALID_FIELD", path + ".rules.0.value"},
	}
	for _, list := range []string{"data", "rules", "filters"} {
		place := path + "." + list
		with := func(entries string) string { return selector(`"` + list + `":` + entries) }
		kind := `,"type":"IN"`
		if list == "data" {
			kind = ""
		}
		entry := `{"field":"PRICING_PLAN_REFERENCE"` + kind + `}`
		rules = append(rules,
			rule{list + " null", with(`null`), "", ""},
			rule{list + " empty", with(`[]`), "", ""},
			rule{list + " of 100 entries", with(`[` + strings.TrimSuffix(strings.Repeat(entry+",", 100), ",") + `]`), "", ""},
			rule{list + " of 101 entries", with(`[` + strings.TrimSuffix(strings.Repeat(entry+",", 101), ",") + `]`), "INVALID_FIELD", place},
			rule{list + " that is no list", with(entry), "INVALID_FIELD", place},
			rule{list + " of no objects", with(`["x"]`), "INVALID_FIELD", place + ".0"},
			rule{list + " of null", with(`[` + entry + `,null]`), "INVALID_FIELD", place + ".1"},
			rule{list + " entry without field", with(strings.Replace(`[{`+kind+`}]`, "{,", "{", 1)), "MISSING_FIELD", place + ".0.field"},
			rule{list + " entry of the other field", with(`[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY"` + kind + `}]`), "", ""},
			rule{list + " entry of a field of another name", with(`[` + entry + `,{"field":"COUNTRY"` + kind + `}]`), "INVALID_FIELD", place + ".1.field"},
			rule{list + " entry of a field in lower case", with(`[{"field":"pricing_plan_reference"` + kind + `}]`), "INVALID_FIELD", place + ".0.field"},
			rule{list + " entry of a null field", with(`[{"field":null` + kind + `}]`), "INVALID_FIELD", place + ".0.field"})
		if list != "data" {
			rules = append(rules,
				rule{list + " entry without type", with(`[{"field":"PRICING_PLAN_REFERENCE"}]`), "MISSING_FIELD", place + ".0.type"},
				rule{list + " entry of a null type", with(`[{"field":"PRICING_PLAN_REFERENCE","type":null}]`), "INVALID_FIELD", place + ".0.type"})
			for _, operator := range []string{
				"EQUALS", "NOT_EQUALS", "IN", "NOT_IN", "GREATER_THAN", "GREATER_THAN_OR_EQUALS", "LESS_THAN", "LESS_THAN_OR_EQUALS", "EMPTY", "NOT_EMPTY", "CONTAINS", "NOT_CONTAINS",
			} {
				rules = append(rules, rule{list + " type " + operator, with(`[{"field":"PRICING_PLAN_REFERENCE","type":"` + operator + `"}]`), "", ""})
			}
			for _, operator := range []string{"", "equals", "EQUAL", "LIKE", "EQUALS "} {
				rules = append(rules, rule{list + " type " + quoted(operator), with(`[{"field":"PRICING_PLAN_REFERENCE","type":"` + operator + `"}]`), "INVALID_FIELD", place + ".0.type"})
			}
		}
		if list != "rules" {
			value := func(v string) string {
				return with(`[{"field":"PRICING_PLAN_REFERENCE"` + kind + `,"value":` + v + `}]`)
			}
			rules = append(rules,
				rule{list + " value empty", value(`""`), "", ""},
				rule{list + " value of any characters", value(`"\u0000 é\n"`), "", ""},
				rule{list + " value of 256 characters, not bytes", value(quoted(strings.Repeat("é", 256))), "", ""},
				rule{list + " value of 257 characters", value(quoted(strings.Repeat("x", 257))), "INVALID_FIELD", place + ".0.value"},
				rule{list + " value null", value(`null`), "INVALID_FIELD", place + ".0.value"},
				rule{list + " value of another type", value(`["NL"]`), "INVALID_FIELD", place + ".0.value"})
		}
	}
	requireRules(t, rules)
}
