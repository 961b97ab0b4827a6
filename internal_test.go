package chargeingest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABodyIsReservedForByWhatItMayComeTo(t *testing.T) {
	h := &Handler{cfg: Config{MaxBodyBytes: 1 << 20}}
	for _, c := range []struct {
		name    string
		length  int64
		gzipped bool
		want    int64
	}{
		{"a declared length is what it is", 100, false, 100},
		{"an unknown length is the limit", -1, false, 1 << 20},
		{"a declared length beyond the limit is the limit", 1 << 40, false, 1 << 20},
		{"gzip is what deflate can make of it", 100, true, 103200},
		{"gzip is the limit at most", 1 << 19, true, 1 << 20},
		{"a huge declared gzip does not overflow", 1 << 62, true, 1 << 20},
		{"gzip of unknown length is the limit", -1, true, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, h.bodySize(&http.Request{ContentLength: c.length}, c.gzipped))
		})
	}
}

func TestHugeBuffersAreNotKept(t *testing.T) {
	var p bodyBuffers
	b := p.get()
	b.Grow(1 << 20)
	p.put(b)
	require.NotSame(t, b, p.get())
}

func TestShortenCutsAt128Characters(t *testing.T) {
	require.Equal(t, strings.Repeat("é", 128), shorten(strings.Repeat("é", 128)))
	require.Equal(t, strings.Repeat("é", 127)+"…", shorten(strings.Repeat("é", 129)))
}

func TestPathsSortByPartsAndIndexesAsNumbers(t *testing.T) {
	for _, c := range [][2]string{
		{"data.2.field", "data.10.field"}, {"data", "data.0"}, {"data.1.field", "data.1.value"}, {"a.b", "aa"}, {"10", "a"},
	} {
		require.Negative(t, comparePaths(c[0], c[1]), c)
		require.Positive(t, comparePaths(c[1], c[0]), c)
	}
}

func TestDateTimesAreInstants(t *testing.T) {
	for s, want := range map[string]time.Time{
		"2026-09-01T09:00:29+09:00":      time.Date(2026, 9, 1, 0, 0, 29, 0, time.UTC),
		"2026-09-01t00:00:29.5z":         time.Date(2026, 9, 1, 0, 0, 29, 500_000_000, time.UTC),
		"0001-01-01T00:00:00+23:59":      time.Date(0, 12, 31, 0, 1, 0, 0, time.UTC),
		"9999-12-31T23:59:59.1-23:59":    time.Date(10000, 1, 1, 23, 58, 59, 100_000_000, time.UTC),
		"2024-02-29T23:59:59.999999999Z": time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
	} {
		got, ok := parseDateTime(s)
		require.True(t, ok, s)
		require.True(t, want.Equal(got), "%s: %s", s, got)
	}
}

func TestAnEventSurvivesJSONAsItIs(t *testing.T) {
	var ev ChargeEvent
	require.NoError(t, json.Unmarshal([]byte(fuzzEvent), &ev2{&ev}))
	text, err := json.Marshal(ev)
	require.NoError(t, err)
	var again ChargeEvent
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, ev, again)

	with := strings.Replace(fuzzEvent, `"value":{`, `"more":[1.50,null],"value":{"extra":{"a":"\u00e9"},`, 1)
	require.NoError(t, json.Unmarshal([]byte(with), &ev2{&ev}))
	require.Equal(t, []Member{{Name: "more", Value: json.RawMessage(`[1.50,null]`)}}, ev.Extra)
	require.Equal(t, []Member{{Name: "extra", Value: json.RawMessage(`{"a":"\u00e9"}`)}}, ev.Value.Extra)
	text, err = json.Marshal(ev)
	require.NoError(t, err)
	require.Contains(t, string(text), `"extra":{"a":"\u00e9"}`)
}

// ev2 reads an event whose id is null, as requests may have it.
type ev2 struct{ *ChargeEvent }

func (e *ev2) UnmarshalJSON(text []byte) error {
	return e.ChargeEvent.UnmarshalJSON(bytes.Replace(text, []byte(`"id":null,`), nil, 1))
}

func TestUnmarshalRefusesWhatIsNoEvent(t *testing.T) {
	for _, text := range []string{`{"value":1}`, `{"product_item_id":null}`, `[]`, `{"period":null}`, `{"a":1}{}`, `{`} {
		var ev ChargeEvent
		require.Error(t, ev.UnmarshalJSON([]byte(text)), text)
		require.Equal(t, ChargeEvent{}, ev, "an event stays as it was on error")
	}
}

func TestMarshalRefusesWhatIsNotUTF8(t *testing.T) {
	_, err := json.Marshal(ChargeEvent{ProductItemID: "\xff"})
	require.Error(t, err)
}

func TestTheOrderOfMembersIsTheSchemas(t *testing.T) {
	v := fuzzValidators(t)["reject unknown"]
	require.Equal(t, map[string]int{
		"product_item_id": 0, "pricing_id": 1, "pricing_item_id": 2, "pricing_item_config_id": 3,
		"customer_id": 4, "customer_reference": 5, "pricing_plan_subscription_id": 6, "pricing_plan_subscription_reference": 7,
		"pricing_plan_subscription_selector": 8, "reference": 9, "description": 10, "value": 11, "period": 12, "timestamp": 13,
		"id": 14, "object_type": 15,
	}, v.rank)
}
