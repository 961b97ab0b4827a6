package storekit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

func TestSentRoundTrip(t *testing.T) {
	stored := chargeingest.StoredEvent{ID: "chda_1", Content: `{}`}
	for name, want := range map[string]storekit.RecordedEvent{
		"no sent event": {StoredEvent: stored},
		"an event without a timestamp": {StoredEvent: stored, Sent: &chargeingest.StoredEvent{
			Content:           `{"a":"<\u0000é` + "\u2028" + `>","timestamp":"2026-09-01T12:00:00Z"}`,
			TimestampAssigned: true,
			Digest:            chargeingest.Digest{1, 2, 255},
		}},
		"an event with a number": {StoredEvent: stored, Sent: &chargeingest.StoredEvent{Content: `{"b":1.50}`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := storekit.RecordedEvent{StoredEvent: stored}
			require.NoError(t, got.DecodeSent(want.EncodeSent()))
			require.Equal(t, want, got)
		})
	}
}

func TestDamagedSent(t *testing.T) {
	for name, text := range map[string]string{
		"invalid JSON":   `{`,
		"another type":   `[]`,
		"a short digest": `{"content":"{}","digest":"AAA="}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, new(storekit.RecordedEvent).DecodeSent(&text))
		})
	}
}
