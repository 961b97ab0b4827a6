package chargeingest_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// event returns a valid event with the given fields, each `"name":value`. "-name" removes
// a required field.
func event(fields ...string) string {
	var b strings.Builder
	b.WriteByte('{')
	for _, required := range []string{
		`"product_item_id":"proi_1"`, `"pricing_id":"pric_1"`, `"pricing_item_id":"prii_1"`, `"pricing_item_config_id":"pico_1"`,
	} {
		name, _, _ := strings.Cut(required, ":")
		replaced := false
		for _, m := range fields {
			replaced = replaced || strings.HasPrefix(m, name+":") || m == "-"+strings.Trim(name, `"`)
		}
		if !replaced {
			b.WriteString(required + ",")
		}
	}
	for _, m := range fields {
		if !strings.HasPrefix(m, "-") {
			b.WriteString(m + ",")
		}
	}
	return strings.TrimSuffix(b.String(), ",") + "}"
}

func batch(events ...string) string {
	return `{"charge_datas":[` + strings.Join(events, ",") + `]}`
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func eventWithField(path, value string) string {
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

var eventObjects = []struct{ path, opening string }{
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

func fullEventWith(opening, field string) string {
	return strings.Replace(fullEvent, opening, opening+field+",", 1)
}

func joinPath(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func objectName(path string) string { return cmp.Or(path, "the event") }

func eventWithSelector(fields string) string {
	return event(`"pricing_plan_subscription_selector":{` + fields + `}`)
}

func largeEvent(reference string) string {
	return event(`"reference":"`+reference+`"`, `"x":"`+strings.Repeat("x", 100_000)+`"`)
}

func nullFields(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"n%d":null`, i)
	}
	return `"x":{` + b.String()[1:] + `}`
}

func gzipped(t *testing.T, text string, level int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	require.NoError(t, err)
	_, err = io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func padded(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }

func chunked(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(7, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}
