package chargeingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/internal/jsontree"
	"example.com/chargeingest/internal/schemacheck"
)

var fuzzNow = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func fuzzValidators(tb testing.TB) map[string]*validator {
	tb.Helper()
	made := make(map[string]*validator)
	for name, set := range map[string]struct {
		keep  bool
		rules schemacheck.CrossRules
	}{
		"reject unknown":    {},
		"keep unknown":      {keep: true},
		"strict with rules": {rules: schemacheck.CrossRules{MaxFutureSkew: time.Hour, RequireReference: true}},
	} {
		v, err := newValidator(3, set.keep, set.rules)
		require.NoError(tb, err)
		made[name] = v
	}
	return made
}

// The fast path accepts only bodies that the schema accepts, with the same events and
// errors.
func requireFastPathAgrees(t *testing.T, v *validator, body []byte, route Route) {
	t.Helper()
	want := v.check(context.Background(), body, route, fuzzNow)
	_, accepted := v.decode(new(decoder), body, route, fuzzNow, true)
	if accepted {
		require.NoError(t, want, "the fast path accepts a body that the schema rejects")
	}
	events, complete := v.decode(new(decoder), body, route, fuzzNow, false)
	if want == nil {
		require.True(t, complete, "the schema accepts a body that the decoder cannot read")
		requireSameEvents(t, body, route, events)
	}
	got, err := v.validate(context.Background(), "p", bytes.Clone(body), route, fuzzNow)
	if want != nil {
		require.Equal(t, want, err)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 400, e.Status)
		require.LessOrEqual(t, len(e.body()), maxErrorBytes)
		require.True(t, json.Valid(e.body()))
		return
	}
	require.NoError(t, err)
	require.Equal(t, new(encoder).newEvents(events, fuzzNow), got)
}

func requireSameEvents(t *testing.T, body []byte, route Route, events []ChargeEvent) {
	t.Helper()
	sent := []json.RawMessage{body}
	if route == RouteBatch {
		var batch map[string][]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &batch))
		sent = batch[batchField]
	}
	require.Len(t, events, len(sent))
	for i := range events {
		rec := new(encoder).newEvents(events[i:i+1], fuzzNow)[0]
		before, after := fieldsOf(t, string(sent[i])), fieldsOf(t, rec.Content)
		delete(before, "id")
		delete(before, "object_type")
		if rec.TimestampAssigned {
			delete(after, "timestamp")
		}
		differences, err := jsontree.Differences(t.Context(), objectOf(t, before), objectOf(t, after), jsontree.Rules{MaxPaths: 100})
		require.NoError(t, err)
		require.Empty(t, differences, "sent %s\nstored %s", body, rec.Content)

		again := new(encoder).newEvents(events[i:i+1], fuzzNow.Add(time.Hour))[0]
		require.Equal(t, rec.Digest, again.Digest, "the digest depends on the time")
	}
}

func fieldsOf(t *testing.T, text string) (fields map[string]json.RawMessage) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &fields))
	return fields
}

func objectOf(t *testing.T, fields map[string]json.RawMessage) jsontree.Object {
	t.Helper()
	text, err := json.Marshal(fields)
	require.NoError(t, err)
	o, err := jsontree.ParseObject(string(text))
	require.NoError(t, err)
	return o
}

const fuzzEvent = `{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",` +
	`"customer_id":"cust_1","customer_reference":null,"pricing_plan_subscription_id":"pps_1","pricing_plan_subscription_reference":"sub 1",` +
	`"pricing_plan_subscription_selector":{"data":[{"field":"PRICING_PLAN_REFERENCE","value":"a"}],"rules":[{"field":"PRICING_PLAN_REFERENCE","type":"EQUALS"}],` +
	`"filters":[{"field":"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY","type":"IN","value":"NL,BE"}],"fallback":null},` +
	`"reference":"r-1","description":"GPU hours","value":{"id":"v","reference":"w","number":"-12.50","amount":{"quantity":"0.1","currency":"EUR"},"count":"7"},` +
	`"period":{"start_at":"2026-05-01T00:00:00Z","end_at":"2026-06-01t00:00:00.5z","ratio":"0.5"},"timestamp":"2026-09-01T09:00:29+09:00","id":null,"object_type":"x"}`

func FuzzBody(f *testing.F) {
	batch := `{"charge_datas":[` + fuzzEvent + `]}`
	for _, seed := range []string{
		fuzzEvent, batch, `{"charge_datas":[` + fuzzEvent + `,{},1,null]}`, `{"charge_datas":[]}`, `{"charge_datas":{}}`,
		`{}`, `[]`, ``, ` `, `{`, `{"a":1,"a":2}`, `{"id":1e1000001}`, `{"x":[[[[]]]],"value":{"number":1e999999}}`,
		strings.Replace(fuzzEvent, `"value":{`, `"value":{"extra":{"deep":[1,2,{"a":null}]},`, 1),
		strings.Replace(fuzzEvent, `"id":null`, `"id":{"a":[1]}`, 1), fuzzEvent + fuzzEvent, "\ufeff{}", `{"a":"\ud800"}`,
		strings.Replace(batch, `{"charge_datas"`, `{"charge_datas.0":1,"charge_datas"`, 1),
		strings.Replace(fuzzEvent, `"object_type":"x"`, `"object_type":"x","reference":"r-2"`, 1),
		strings.Replace(batch, `"object_type":"x"`, `"object_type":"x","reference":"r-2"`, 1),
	} {
		f.Add([]byte(seed))
	}
	validators := fuzzValidators(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, v := range validators {
			requireFastPathAgrees(t, v, body, RouteSingle)
			requireFastPathAgrees(t, v, body, RouteBatch)
		}
	})
}

func fuzzValues(tb testing.TB) []string {
	tb.Helper()
	var values []string
	for _, text := range []string{
		`"proi_1"`, `"pric_1"`, `"prii_1"`, `"pico_1"`, `"cust_1"`, `null,"pricing_plan_subscription_id"`, `"pps_1"`, `"sub 1"`,
		`{"data"`, `[{"field":"PRICING_PLAN_REFERENCE","value":"a"}]`, `"PRICING_PLAN_REFERENCE","value"`, `"a"`,
		`"PRICING_PLAN_REFERENCE","type"`, `"EQUALS"`, `"IN"`, `"NL,BE"`, `"BILLING_ENTITY_REGISTERED_ADDRESS_COUNTRY"`,
		`null},"reference"`, `"r-1"`, `"GPU hours"`, `"v"`, `"w"`, `"-12.50"`, `{"quantity":"0.1","currency":"EUR"}`, `"0.1"`, `"EUR"`, `"7"`,
		`"2026-05-01T00:00:00Z"`, `"2026-06-01t00:00:00.5z"`, `"0.5"`, `"2026-09-01T09:00:29+09:00"`, `null,"object_type"`, `"x"`,
	} {
		require.Equal(tb, 1, strings.Count(fuzzEvent, text), text)
		values = append(values, text)
	}
	return values
}

func FuzzField(f *testing.F) {
	values := fuzzValues(f)
	for i := range values {
		for j, value := range []string{
			``, `null`, `1`, `1e400`, `true`, `[]`, `{}`, `""`, `[null]`, `[{}]`, `{"a":1}`, "a\tb", "é", "a b+c-d_e\v", strings.Repeat("9", 38), strings.Repeat("9", 39),
			"-0.1", "1.", ".5", "+1", "1e5", "2026-02-29T00:00:00Z", "2024-02-29T23:59:60Z", "0000-01-01T00:00:00Z", "2026-09-01T00:00:00.1234567890Z", "9999-12-31T23:59:59.999999999-23:59",
			strings.Repeat("é", 256), strings.Repeat("é", 257), "\x7f", "LATEST", "CONTAINS", "USD",
		} {
			if (i+j)%4 == 0 {
				f.Add(uint8(i), value)
			}
		}
	}
	validators := fuzzValidators(f)
	f.Fuzz(func(t *testing.T, position uint8, value string) {
		quoted, err := json.Marshal(value)
		require.NoError(t, err)
		old := values[int(position)%len(values)]
		first, _, _ := strings.Cut(old, ",")
		if strings.HasPrefix(old, "{") || strings.HasPrefix(old, "[") {
			first = old
		}
		for _, text := range []string{value, string(quoted)} {
			with := text + strings.TrimPrefix(old, first)
			body := []byte(strings.Replace(fuzzEvent, old, with, 1))
			for _, v := range validators {
				requireFastPathAgrees(t, v, body, RouteSingle)
				requireFastPathAgrees(t, v, fmt.Appendf(nil, `{"charge_datas":[%s,%s]}`, fuzzEvent, body), RouteBatch)
			}
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "limit=1000&order=asc&after=abc", "limit=0", "limit=01", "limit=1&limit=2", "x=1", "from=2026-09-01T00:00:00%2B02:00&to=2026-09-01T00:00:00Z",
		"customer_id=%00", "reference=", "%zz", "a;b", "reference=a&customer_id=b&customer_reference=c&pricing_plan_subscription_id=d&product_item_id=e",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			if len(raw) > maxQueryBytes {
				require.Equal(t, CodeBadRequest, e.Code)
			} else {
				require.Equal(t, CodeInvalidField, e.Code)
				requireOnePerField(t, e.Violations)
			}
			require.LessOrEqual(t, len(e.body()), maxErrorBytes)
			require.True(t, json.Valid(e.body()))
			return
		}
		require.True(t, q.Limit >= 1 && q.Limit <= maxLimit)
		parsed, _ := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
		require.Equal(t, parsed.Get("reference"), q.Reference)
		require.Equal(t, parsed.Get("after"), q.After)
	})
}

func requireOnePerField(t *testing.T, violations []Violation) {
	t.Helper()
	seen := make(map[string]bool)
	for _, v := range violations {
		require.False(t, seen[v.Field], v.Field)
		seen[v.Field] = true
	}
}
