package schema_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/schema"
)

const selectorPath = "pricing_plan_subscription_selector."

func quoted(t *testing.T, values ...string) []string {
	t.Helper()
	texts := make([]string, len(values))
	for i, v := range values {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		texts[i] = string(text)
	}
	return texts
}

type rule struct {
	name    string
	fields  []string
	accepts []string
	rejects []string
}

func TestRules(t *testing.T) {
	event := compile(t, schema.ChargeEventID)
	for _, r := range slices.Concat(textRules(t), numberRules(t), timeRules(t), structureRules(t)) {
		t.Run(r.name, func(t *testing.T) {
			for _, field := range r.fields {
				for _, value := range r.accepts {
					require.Empty(t, violations(t, event, withField(t, field, value)), "%s: %s", field, value)
				}
				for _, value := range r.rejects {
					found := violations(t, event, withField(t, field, value))
					require.NotEmpty(t, found, "%s: %s", field, value)
					for _, violation := range found {
						require.True(t, strings.HasPrefix(violation, field+" "), "%s: %s: %s", field, value, violation)
					}
				}
			}
		})
	}
}

func textRules(t *testing.T) []rule {
	t.Helper()
	required := []string{"product_item_id", "pricing_id", "pricing_item_id", "pricing_item_config_id"}
	nullable := []string{
		"customer_id", "customer_reference", "pricing_plan_subscription_id", "pricing_plan_subscription_reference",
		"value.id", "value.reference",
	}
	return []rule{
		{
			name:   "an identifier has 1 to 256 characters without control characters",
			fields: slices.Concat(required, nullable),
			accepts: quoted(t, "x", " ", "acct 7/8 (é, 漢, 😀)", "\u0080\u009f\u2028", strings.Repeat("x", 256),
				strings.Repeat("😀", 256)),
			rejects: append(quoted(t, "", "a\x00", "\x01", "a\tb", "a\n", "\na", "\x1f", "\x7f", strings.Repeat("x", 257),
				strings.Repeat("😀", 257)), `0`, `true`, `[]`, `{}`, `["x"]`),
		},
		{name: "a required identifier is not null", fields: required, rejects: []string{`null`}},
		{name: "other identifiers are nullable", fields: nullable, accepts: []string{`null`}},
		{
			name:    "a reference has 0 to 256 letters, digits, underscores and hyphens",
			fields:  []string{"reference"},
			accepts: append(quoted(t, "", "-", "_", "azAZ09-_", strings.Repeat("x", 256)), `null`),
			rejects: append(quoted(t, " ", "a b", "a\n", "\na", "a+b", "a.b", "a/b", "é", "٣", strings.Repeat("x", 257)), `7`, `[]`),
		},
		{
			name:   "a description may also have plus signs and the six white-space characters of ASCII",
			fields: []string{"description"},
			accepts: append(quoted(t, "", "azAZ09-_+", " \t\n\v\f\r", "GPU hours + add-ons\n", strings.Repeat(" ", 256)),
				`null`),
			rejects: append(quoted(t, "a.b", "a,b", "a\\b", "a\x00", "a\x1f", "a\u0085", "a\u00a0b", "a\u2028", "a\u3000b", "a\ufeff", "é",
				strings.Repeat("x", 257)), `7`, `{}`),
		},
		{
			name:    "a currency has three capital letters",
			fields:  []string{"value.amount.currency"},
			accepts: quoted(t, "EUR", "XXX"),
			rejects: append(quoted(t, "", "eur", "EU", "EURO", "EUR\n", " EUR", "E1R", "ÉUR"), `null`, `978`),
		},
		{
			name:    "a selector's value has at most 256 characters and is not null",
			fields:  []string{selectorPath + "data.0.value", selectorPath + "filters.0.value"},
			accepts: quoted(t, "", "NL,BE", "a\nb", strings.Repeat("é", 256)),
			rejects: append(quoted(t, strings.Repeat("é", 257)), `null`, `1`, `["NL"]`),
		},
	}
}

func numberRules(t *testing.T) []rule {
	t.Helper()
	digits := strings.Repeat("9", 38)
	nullable := []string{"value.number", "period.ratio"}
	return []rule{
		{
			name:   "a decimal is a string of digits with an optional sign and point, at most 38 digits in total",
			fields: append([]string{"value.amount.quantity"}, nullable...),
			accepts: quoted(t, "0", "-0", "00", "007.50", "12.50", "-12.50", "0.1", digits, "-"+digits,
				digits[:37]+".9", "9."+digits[:37], "-9."+digits[:37], digits[:19]+"."+digits[:19]),
			rejects: append(quoted(t, "", "-", ".", "-.", ".5", "5.", "-.5", "+1", "--1", "1-", "1.2.3", "1..2", "1,5", "1_000",
				"1e3", "1E3", "0x1F", "NaN", "Infinity", " 1", "1 ", "1\n", "\n1", "٣", "１",
				digits+"9", "-"+digits+"9", digits+".9", "9."+digits, "0."+digits, strings.Repeat("9", 100_000)),
				`1`, `1.5`, `-1`, `true`, `[]`, `{}`),
		},
		{name: "a quantity is not null", fields: []string{"value.amount.quantity"}, rejects: []string{`null`}},
		{name: "a number and a ratio are nullable", fields: nullable, accepts: []string{`null`}},
		{
			name:    "a count is a string of 1 to 38 digits with an optional sign, or null",
			fields:  []string{"value.count"},
			accepts: append(quoted(t, "0", "-0", "-1", "0042", digits, "-"+digits), `null`),
			rejects: append(quoted(t, "", "-", "+1", "--1", "1.0", "1.", "1e3", " 1", "1\n", "٣", digits+"9", "-"+digits+"9"), `1`, `[]`),
		},
	}
}

func timeRules(t *testing.T) []rule {
	t.Helper()
	periodEnds := []string{"period.start_at", "period.end_at"}
	return []rule{
		{
			name:   "an instant is RFC 3339",
			fields: append([]string{"timestamp"}, periodEnds...),
			accepts: quoted(t,
				"2026-09-01T09:00:29+09:00", "2026-09-01t09:00:29z", "2026-09-01T09:00:29.1Z", "2026-09-01T09:00:29.123456789-00:00",
				"0001-01-01T00:00:00Z", "0010-01-01T00:00:00Z", "0100-01-01T00:00:00Z", "1000-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
				"2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2026-01-31T00:00:00+23:59", "2026-01-31T00:00:00-23:59"),
			rejects: append(quoted(t,
				"", "now", "2026-09-01", "09:00:29Z", "2026-09-01T09:00:29", "2026-09-01 09:00:29Z", "2026-09-01_09:00:29Z",
				"2026-09-01T09:00Z", "2026-9-01T09:00:29Z", "26-09-01T09:00:29Z", "+2026-09-01T09:00:29Z", "12026-09-01T09:00:29Z",
				"2026-09-01T09:00:29Z\n", " 2026-09-01T09:00:29Z", "2026-09-01T09:00:29ZZ", "２026-09-01T09:00:29Z"),
				`1788253229`, `true`, `[]`, `{}`),
		},
		{
			name:   "an instant has a day that exists, in the years 0001 to 9999",
			fields: append([]string{"timestamp"}, periodEnds...),
			rejects: quoted(t,
				"0000-01-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
				"2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-04-31T00:00:00Z"),
		},
		{
			name:   "an instant has a time that exists, without leap seconds, and at most nine fraction digits after a point",
			fields: append([]string{"timestamp"}, periodEnds...),
			rejects: quoted(t,
				"2026-09-01T24:00:00Z", "2026-09-01T23:60:00Z", "2016-12-31T23:59:60Z", "2016-12-31T23:59:61Z",
				"2026-09-01T09:00:29.Z", "2026-09-01T09:00:29,5Z", "2026-09-01T09:00:29.1234567890Z",
				"2026-09-01T09:00:29+24:00", "2026-09-01T09:00:29+09:60", "2026-09-01T09:00:29+0900", "2026-09-01T09:00:29+09",
				"2026-09-01T09:00:29+9:00", "2026-09-01T09:00:29Z+09:00"),
		},
		{name: "the ends of a period are not null", fields: periodEnds, rejects: []string{`null`}},
		{name: "a timestamp is nullable", fields: []string{"timestamp"}, accepts: []string{`null`}},
	}
}

func structureRules(t *testing.T) []rule {
	t.Helper()
	entries := func(n int) string {
		return "[" + strings.Repeat(`{"field": "PRICING_PLAN_REFERENCE", "type": "IN"},`, n-1) +
			`{"field": "PRICING_PLAN_REFERENCE", "type": "IN"}]`
	}
	data := func(n int) string { return strings.ReplaceAll(entries(n), `, "type": "IN"`, "") }
	return []rule{
		{
			name:    "an object is not null or another type",
			fields:  []string{"value", "value.amount", "period", selectorPath[:len(selectorPath)-1]},
			rejects: []string{`null`, `"x"`, `1`, `[]`, `true`},
		},
		{
			name:    "value, period and selector may be empty",
			fields:  []string{"value", "period", selectorPath[:len(selectorPath)-1]},
			accepts: []string{`{}`},
		},
		{
			name:    "a list of the selector may be null and has at most 100 entries",
			fields:  []string{selectorPath + "rules", selectorPath + "filters"},
			accepts: []string{`null`, `[]`, entries(100)},
			rejects: []string{entries(101), `{}`, `"x"`},
		},
		{
			name:    "selector data may be null and have at most 100 entries",
			fields:  []string{selectorPath + "data"},
			accepts: []string{`null`, `[]`, data(100)},
			rejects: []string{data(101), `{}`, `"x"`},
		},
		{
			name:    "an entry of a list is an object",
			fields:  []string{selectorPath + "data.0", selectorPath + "rules.0", selectorPath + "filters.0"},
			rejects: []string{`null`, `"x"`, `1`, `[]`},
		},
		{
			name:    "a selector's field is one of two",
			fields:  []string{selectorPath + "data.0.field", selectorPath + "rules.0.field", selectorPath + "filters.0.field"},
			accepts: quoted(t, "BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY", "PRICING_PLAN_REFERENCE"),
			rejects: append(quoted(t, "", "pricing_plan_reference", "CUSTOMER"), `null`, `1`),
		},
		{
			name:   "a selector's type is one of twelve",
			fields: []string{selectorPath + "rules.0.type", selectorPath + "filters.0.type"},
			accepts: quoted(t, "EQUALS", "NOT_EQUALS", "IN", "NOT_IN", "GREATER_THAN", "GREATER_THAN_OR_EQUALS",
				"LESS_THAN", "LESS_THAN_OR_EQUALS", "EMPTY", "NOT_EMPTY", "CONTAINS", "NOT_CONTAINS"),
			rejects: append(quoted(t, "", "equals", "LIKE"), `null`, `1`),
		},
		{
			name:    "a fallback is LATEST, NONE or null",
			fields:  []string{selectorPath + "fallback"},
			accepts: append(quoted(t, "LATEST", "NONE"), `null`),
			rejects: append(quoted(t, "", "latest", "FIRST"), `false`),
		},
		{
			name:    "a read-only field accepts any JSON value",
			fields:  []string{"id", "object_type"},
			accepts: []string{`null`, `"x"`, `1`, `1.5`, `true`, `[1, [2]]`, `{"x": {"y": null}}`},
		},
	}
}
