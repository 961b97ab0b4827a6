package chargeingest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEventRoundTrip(t *testing.T) {
	var ev ChargeEvent
	require.NoError(t, json.Unmarshal([]byte(fuzzEvent), &eventWithNullID{&ev}))
	text, err := json.Marshal(ev)
	require.NoError(t, err)
	var again ChargeEvent
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, ev, again)

	extended := strings.Replace(fuzzEvent, `"value":{`, `"more":[1.50,null],"value":{"extra":{"a":"\u00e9"},`, 1)
	require.NoError(t, json.Unmarshal([]byte(extended), &eventWithNullID{&ev}))
	require.Equal(t, []ExtraField{{Name: "more", Value: json.RawMessage(`[1.50,null]`)}}, ev.Extra)
	require.Equal(t, []ExtraField{{Name: "extra", Value: json.RawMessage(`{"a":"\u00e9"}`)}}, ev.Value.Extra)
	text, err = json.Marshal(ev)
	require.NoError(t, err)
	require.Contains(t, string(text), `"extra":{"a":"\u00e9"}`)
}

type eventWithNullID struct{ *ChargeEvent }

func (e *eventWithNullID) UnmarshalJSON(text []byte) error {
	return e.ChargeEvent.UnmarshalJSON(bytes.Replace(text, []byte(`"id":null,`), nil, 1))
}

func TestUnmarshalInvalidEvent(t *testing.T) {
	for _, text := range []string{`{"value":1}`, `{"product_item_id":null}`, `[]`, `{"period":null}`, `{"a":1}{}`, `{`} {
		var ev ChargeEvent
		require.Error(t, ev.UnmarshalJSON([]byte(text)), text)
		require.Equal(t, ChargeEvent{}, ev, "an event does not change on error")
	}
}

func TestMarshalInvalidUTF8(t *testing.T) {
	_, err := json.Marshal(ChargeEvent{ProductItemID: "\xff"})
	require.Error(t, err)
}
