package chargeingest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// event returns a valid event of the four required members and those given,
// each `"name":value`. One that names a required member takes its place; a
// "-name" leaves it out.
func event(members ...string) string {
	var b strings.Builder
	b.WriteByte('{')
	for _, required := range []string{
		`"product_item_id":"proi_1"`, `"pricing_id":"pric_1"`, `"pricing_item_id":"prii_1"`, `"pricing_item_config_id":"pico_1"`,
	} {
		name, _, _ := strings.Cut(required, ":")
		replaced := false
		for _, m := range members {
			replaced = replaced || strings.HasPrefix(m, name+":") || m == "-"+strings.Trim(name, `"`)
		}
		if !replaced {
			b.WriteString(required + ",")
		}
	}
	for _, m := range members {
		if !strings.HasPrefix(m, "-") {
			b.WriteString(m + ",")
		}
	}
	return strings.TrimSuffix(b.String(), ",") + "}"
}

// batch is the body of a request of many events.
func batch(events ...string) string {
	return `{"charge_datas":[` + strings.Join(events, ",") + `]}`
}

// quoted is a string as JSON.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always is JSON
	}
	return string(text)
}

// member makes the event in which the member at a path, such as value.amount,
// has a JSON value. In an amount the other member is there too.
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

// objectPlaces are the objects of an event: each is opened by the text that a
// member can be put behind, and found again at the path.
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

// fullWith is fullEvent with a member more in one of its objects.
func fullEventWith(opening, member string) string {
	return strings.Replace(fullEvent, opening, opening+member+",", 1)
}

func joinPath(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// selector is an event with a selector of these members.
func eventWithSelector(members string) string {
	return event(`"pricing_plan_subscription_selector":{` + members + `}`)
}

// largeEvent has 100 kB of content.
func largeEvent(reference string) string {
	return event(`"reference":"`+reference+`"`, `"x":"`+strings.Repeat("x", 100_000)+`"`)
}

// nulls is a field that counts as absent, of n bytes or a few more.
func nullFields(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"n%d":null`, i)
	}
	return `"x":{` + b.String()[1:] + `}`
}

// zipped compresses; at level 0 the result is larger than the text.
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

// padded makes a body of this many bytes.
func padded(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }

// chunked is a body in chunks of a few bytes.
func chunked(body string) string {
	var b strings.Builder
	for len(body) > 0 {
		n := min(7, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return b.String() + "0\r\n\r\n"
}
