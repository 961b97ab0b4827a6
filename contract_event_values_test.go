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
	var rules []ruleCase
	for _, field := range []string{"value.number", "value.amount.quantity", "period.ratio"} {
		for _, s := range []string{
			"0", "7", "-7", "00.10", "-0", "-0.0", "1.000", "0.157100201142", digits38, "-" + digits38, "0." + digits38[1:], digits38[:37] + ".8", "-" + digits38[:19] + "." + digits38[19:],
		} {
			rules = append(rules, ruleCase{field + " of " + s, eventWithField(field, quoted(s)), "", ""})
		}
		for _, s := range []string{
			"", "-", "+1", ".5", "5.", "-.5", "1e5", "1E5", "1.0e-2", "1,5", "1_000", " 1", "1 ", "1\n", "1.2.3", "--1", "1-", "NaN", "Infinity", "0x1f", "one", "٣", "１",
			digits38 + "9", "-" + digits38 + "9", "0." + digits38, digits38 + ".0", strings.Repeat("0", 39), strings.Repeat("9", 5000),
		} {
			rules = append(rules, ruleCase{field + " of " + quoted(s[:min(len(s), 60)]), eventWithField(field, quoted(s)), "INVALID_FIELD", field})
		}
		for _, value := range []string{`1`, `0`, `-1.5`, `1e400`, `true`, `["1"]`, `{"a":"1"}`} {
			rules = append(rules, ruleCase{field + " of the JSON " + value, eventWithField(field, value), "INVALID_FIELD", field})
		}
	}
	rules = append(rules,
		ruleCase{"value.number null", eventWithField("value.number", "null"), "", ""},
		ruleCase{"period.ratio null", eventWithField("period.ratio", "null"), "", ""},
		ruleCase{"value.amount.quantity null", eventWithField("value.amount.quantity", "null"), "INVALID_FIELD", "value.amount.quantity"})
	requireRules(t, rules)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	var rules []ruleCase
	for _, value := range []string{`"0"`, `"-0"`, `"007"`, `"-12"`, quoted(digits38), quoted("-" + digits38), `null`} {
		rules = append(rules, ruleCase{"count of " + value, eventWithField("value.count", value), "", ""})
	}
	for _, value := range []string{`""`, `"-"`, `"+1"`, `"1.0"`, `"1."`, `"1e2"`, `" 1"`, `"1\n"`, `"٣"`, quoted(digits38 + "9"), `1`, `1.0`, `true`, `[]`, `{}`} {
		rules = append(rules, ruleCase{"count of " + value, eventWithField("value.count", value), "INVALID_FIELD", "value.count"})
	}
	requireRules(t, rules)
}

func TestJSONNumberForDecimal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, field := range []string{"value.number", "value.amount.quantity", "value.count", "period.ratio"} {
		t.Run(field, func(t *testing.T) {
			resp := f.post(t, eventPath, eventWithField(field, "12.5"))
			resp.requireError(t, http.StatusBadRequest, "INVALID_FIELD", field)
			require.Contains(t, resp.body["message"], "quoted string")
			require.NotContains(t, f.post(t, eventPath, eventWithField(field, `"x"`)).body["message"], "JSON number")
		})
	}
}

func TestValueAndAmount(t *testing.T) {
	t.Parallel()
	const amount = "value.amount"
	rules := []ruleCase{
		{"an empty value", event(`"value":{}`), "", ""},
		{"a value with one field", event(`"value":{"count":"1"}`), "", ""},
		{"value is not nullable", event(`"value":null`), "INVALID_FIELD", "value"},
		{"value must not be a string", event(`"value":"1"`), "INVALID_FIELD", "value"},
		{"value must not be a list", event(`"value":[]`), "INVALID_FIELD", "value"},
		{"value must not be a number", event(`"value":1`), "INVALID_FIELD", "value"},
		{"amount is not nullable", eventWithField(amount, `null`), "INVALID_FIELD", amount},
		{"amount must be an object", eventWithField(amount, `"1 EUR"`), "INVALID_FIELD", amount},
		{"amount needs a quantity", eventWithField(amount, `{"currency":"EUR"}`), "MISSING_FIELD", amount + ".quantity"},
		{"amount needs a currency", eventWithField(amount, `{"quantity":"1"}`), "MISSING_FIELD", amount + ".currency"},
		{"currency null", eventWithField(amount+".currency", `null`), "INVALID_FIELD", amount + ".currency"},
		{"an unassigned currency", eventWithField(amount+".currency", `"XXZ"`), "", ""},
	}
	for _, currency := range []string{`""`, `"EU"`, `"EURO"`, `"eur"`, `"Eur"`, `"E1R"`, `"ÉUR"`, `"EUR\n"`, `" EUR"`, `978`, `["EUR"]`} {
		rules = append(rules, ruleCase{"currency of " + currency, eventWithField(amount+".currency", currency), "INVALID_FIELD", amount + ".currency"})
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
					require.Equal(t, s, valueAt(e, path))
				}
			}
		})
	}
}

func TestPeriod(t *testing.T) {
	t.Parallel()
	period := func(fields string) string { return event(`"period":{` + fields + `}`) }
	requireRules(t, []ruleCase{
		{"an empty period", period(``), "", ""},
		{"start only", period(`"start_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"end only", period(`"end_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"ratio only", period(`"ratio":"0.5"`), "", ""},
		{"is not nullable", event(`"period":null`), "INVALID_FIELD", "period"},
		{"must be an object", event(`"period":"2026-05"`), "INVALID_FIELD", "period"},
		{"start_at is not nullable", period(`"start_at":null`), "INVALID_FIELD", "period.start_at"},
		{"end_at is not nullable", period(`"end_at":null`), "INVALID_FIELD", "period.end_at"},
		{"end equals start", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-05-01T00:00:00Z"`), "", ""},
		{"end before start", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-04-30T23:59:59.999999999Z"`), "INVALID_FIELD", "period.end_at"},
		{"end before start, sent first", period(`"end_at":"2026-04-30T00:00:00Z","start_at":"2026-05-01T00:00:00Z"`), "INVALID_FIELD", "period.end_at"},
		{"end before start because of its offset", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-05-01T00:30:00+01:00"`), "INVALID_FIELD", "period.end_at"},
		{"end after start because of its offset", period(`"start_at":"2026-05-01T00:00:00Z","end_at":"2026-04-30T23:30:00-01:00"`), "", ""},
		{"from the first year to the last", period(`"start_at":"0001-01-01T00:00:00Z","end_at":"9999-12-31T23:59:59.999999999Z"`), "", ""},
		{"from the last year to the first", period(`"start_at":"9999-12-31T23:59:59.999999999Z","end_at":"0001-01-01T00:00:00Z"`), "INVALID_FIELD", "period.end_at"},
	})
}

func TestDateTimes(t *testing.T) {
	t.Parallel()
	valid := []string{
		"2026-09-01T09:00:29+09:00", "2026-09-01T09:00:29Z", "2026-09-01t09:00:29z", "2026-09-01T09:00:29z", "2026-09-01t09:00:29-03:30",
		"2026-09-01T09:00:29.1Z", "2026-09-01T09:00:29.123456789Z", "2026-09-01T09:00:29.000000000+00:00", "2026-09-01T09:00:29.100Z", "2026-09-01T09:00:29-00:00",
		"0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59-23:59", "1600-02-29T00:00:00Z", "2024-02-29T23:59:59Z", "1677-01-01T00:00:00Z", "2263-01-01T00:00:00Z",
	}
	invalid := []string{
		"", "2026-09-01", "2026-09-01T09:00:29", "2026-09-01T09:00Z", "2026-09-01T09Z", "20260901T090029Z", "2026-W36-2T09:00:29Z", "09:00:29Z", "1788253229", "now",
		"2026-09-01T09:00:60Z", "2016-12-31T23:59:60Z", "2026-09-01T24:00:00Z", "2026-09-01T09:60:00Z", "2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z", "1900-02-29T00:00:00Z",
		"2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-09-00T00:00:00Z", "2026-09-32T00:00:00Z", "0000-01-01T00:00:00Z", "0000-12-31T23:59:59-23:59",
		"2026-09-01T09:00:29.1234567890Z", "2026-09-01T09:00:29.00000000000000Z", "2026-09-01T09:00:29.Z", "2026-09-01T09:00:29,5Z", "2026-09-01T09:00:29+9:00", "2026-09-01T09:00:29+0900", "2026-09-01T09:00:29+09", "2026-09-01T09:00:29+24:00", "2026-09-01T09:00:29+09:60", "2026-09-01T09:00:29Z+01:00",
		"10000-01-01T00:00:00Z", "+2026-09-01T09:00:29Z", "-2026-09-01T09:00:29Z", "26-09-01T09:00:29Z", "2026-9-1T09:00:29Z", " 2026-09-01T09:00:29Z", "2026-09-01T09:00:29Z ", "2026-09-01T09:00:29Z\n", "٢٠٢٦-09-01T09:00:29Z", "2026-09-01T09:00:29 Z", "2026-09-01T9:00:29Z",
	}
	var rules []ruleCase
	for _, field := range []string{"timestamp", "period.start_at", "period.end_at"} {
		for _, s := range valid {
			rules = append(rules, ruleCase{field + " of " + s, eventWithField(field, quoted(s)), "", ""})
		}
		for _, s := range invalid {
			rules = append(rules, ruleCase{field + " of " + quoted(s), eventWithField(field, quoted(s)), "INVALID_FIELD", field})
		}
		for _, value := range []string{`1788253229`, `true`, `[]`, `{}`} {
			rules = append(rules, ruleCase{field + " of the JSON " + value, eventWithField(field, value), "INVALID_FIELD", field})
		}
	}
	requireRules(t, rules)
	t.Run("date-times are stored and returned as sent", func(t *testing.T) {
		f := newFixture(t)
		for _, s := range valid {
			stored := f.post(t, eventPath, event(`"timestamp":`+quoted(s), `"period":{"start_at":`+quoted(s)+`,"end_at":`+quoted(s)+`}`)).requireStored(t)
			got := f.get(t, eventPath+"/"+stored["id"].(string)).body
			for _, e := range []map[string]any{stored, got} {
				for _, path := range []string{"timestamp", "period.start_at", "period.end_at"} {
					require.Equal(t, s, valueAt(e, path))
				}
			}
		}
	})
}

func TestSelector(t *testing.T) {
	t.Parallel()
	const path = "pricing_plan_subscription_selector"
	rules := []ruleCase{
		{"an empty selector", eventWithSelector(``), "", ""},
		{"is not nullable", event(`"` + path + `":null`), "INVALID_FIELD", path},
		{"must be an object", event(`"` + path + `":[]`), "INVALID_FIELD", path},
		{"fallback LATEST", eventWithSelector(`"fallback":"LATEST"`), "", ""},
		{"fallback NONE", eventWithSelector(`"fallback":"NONE"`), "", ""},
		{"fallback null", eventWithSelector(`"fallback":null`), "", ""},
		{"unknown fallback", eventWithSelector(`"fallback":"FIRST"`), "INVALID_FIELD", path + ".fallback"},
		{"fallback in lower case", eventWithSelector(`"fallback":"latest"`), "INVALID_FIELD", path + ".fallback"},
		{"empty fallback", eventWithSelector(`"fallback":""`), "INVALID_FIELD", path + ".fallback"},
		{"fallback of the wrong type", eventWithSelector(`"fallback":1`), "INVALID_FIELD", path + ".fallback"},
		{"data entry with a type", eventWithSelector(`"data":[{"field":"PRICING_PLAN_REFERENCE","type":"IN"}]`), "INVALID_FIELD", path + ".data.0.type"},
		{"rule with a value", eventWithSelector(`"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"IN","value":"a"}]`), "INVALID_FIELD", path + ".rules.0.value"},
	}
	for _, list := range []string{"data", "rules", "filters"} {
		fieldPath := path + "." + list
		with := func(entries string) string { return eventWithSelector(`"` + list + `":` + entries) }
		kind := `,"type":"IN"`
		if list == "data" {
			kind = ""
		}
		entry := `{"field":"PRICING_PLAN_REFERENCE"` + kind + `}`
		rules = append(rules,
			ruleCase{list + " null", with(`null`), "", ""},
			ruleCase{list + " empty", with(`[]`), "", ""},
			ruleCase{list + " of 100 entries", with(`[` + strings.TrimSuffix(strings.Repeat(entry+",", 100), ",") + `]`), "", ""},
			ruleCase{list + " of 101 entries", with(`[` + strings.TrimSuffix(strings.Repeat(entry+",", 101), ",") + `]`), "INVALID_FIELD", fieldPath},
			ruleCase{list + " that is not a list", with(entry), "INVALID_FIELD", fieldPath},
			ruleCase{list + " of strings", with(`["x"]`), "INVALID_FIELD", fieldPath + ".0"},
			ruleCase{list + " with null", with(`[` + entry + `,null]`), "INVALID_FIELD", fieldPath + ".1"},
			ruleCase{list + " entry without field", with(strings.Replace(`[{`+kind+`}]`, "{,", "{", 1)), "MISSING_FIELD", fieldPath + ".0.field"},
			ruleCase{list + " entry with the other field", with(`[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY"` + kind + `}]`), "", ""},
			ruleCase{list + " entry with an unknown field", with(`[` + entry + `,{"field":"COUNTRY"` + kind + `}]`), "INVALID_FIELD", fieldPath + ".1.field"},
			ruleCase{list + " entry with a lower-case field", with(`[{"field":"pricing_plan_reference"` + kind + `}]`), "INVALID_FIELD", fieldPath + ".0.field"},
			ruleCase{list + " entry with a null field", with(`[{"field":null` + kind + `}]`), "INVALID_FIELD", fieldPath + ".0.field"})
		if list != "data" {
			rules = append(rules,
				ruleCase{list + " entry without type", with(`[{"field":"PRICING_PLAN_REFERENCE"}]`), "MISSING_FIELD", fieldPath + ".0.type"},
				ruleCase{list + " entry with a null type", with(`[{"field":"PRICING_PLAN_REFERENCE","type":null}]`), "INVALID_FIELD", fieldPath + ".0.type"})
			for _, operator := range []string{
				"EQUALS", "NOT_EQUALS", "IN", "NOT_IN", "GREATER_THAN", "GREATER_THAN_OR_EQUALS", "LESS_THAN", "LESS_THAN_OR_EQUALS", "EMPTY", "NOT_EMPTY", "CONTAINS", "NOT_CONTAINS",
			} {
				rules = append(rules, ruleCase{list + " type " + operator, with(`[{"field":"PRICING_PLAN_REFERENCE","type":"` + operator + `"}]`), "", ""})
			}
			for _, operator := range []string{"", "equals", "EQUAL", "LIKE", "EQUALS "} {
				rules = append(rules, ruleCase{list + " type " + quoted(operator), with(`[{"field":"PRICING_PLAN_REFERENCE","type":"` + operator + `"}]`), "INVALID_FIELD", fieldPath + ".0.type"})
			}
		}
		if list != "rules" {
			value := func(v string) string {
				return with(`[{"field":"PRICING_PLAN_REFERENCE"` + kind + `,"value":` + v + `}]`)
			}
			rules = append(rules,
				ruleCase{list + " value empty", value(`""`), "", ""},
				ruleCase{list + " value of any characters", value(`"\u0000 é\n"`), "", ""},
				ruleCase{list + " value of 256 two-byte characters", value(quoted(strings.Repeat("é", 256))), "", ""},
				ruleCase{list + " value of 257 characters", value(quoted(strings.Repeat("x", 257))), "INVALID_FIELD", fieldPath + ".0.value"},
				ruleCase{list + " value null", value(`null`), "INVALID_FIELD", fieldPath + ".0.value"},
				ruleCase{list + " value of the wrong type", value(`["NL"]`), "INVALID_FIELD", fieldPath + ".0.value"})
		}
	}
	requireRules(t, rules)
}

func TestSelectorEntryTypes(t *testing.T) {
	t.Parallel()
	const fieldPath = "pricing_plan_subscription_selector."
	var rules []ruleCase
	for _, value := range []string{`1`, `true`, `["IN"]`, `{}`} {
		for _, list := range []string{"rules", "filters"} {
			rules = append(rules,
				ruleCase{list + " field of " + value, eventWithSelector(`"` + list + `":[{"field":` + value + `,"type":"IN"}]`), "INVALID_FIELD", fieldPath + list + ".0.field"},
				ruleCase{list + " type of " + value, eventWithSelector(`"` + list + `":[{"field":"PRICING_PLAN_REFERENCE","type":` + value + `}]`), "INVALID_FIELD", fieldPath + list + ".0.type"})
		}
		rules = append(rules, ruleCase{"data field of " + value, eventWithSelector(`"data":[{"field":` + value + `}]`), "INVALID_FIELD", fieldPath + "data.0.field"})
	}
	requireRules(t, rules)
}
