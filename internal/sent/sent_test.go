package sent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sent"
)

func TestRoundTrip(t *testing.T) {
	stored := chargeingest.StoredEvent{ID: "chda_1", Content: `{}`}
	for name, want := range map[string]chargeingest.BoundEvent{
		"nothing": {StoredEvent: stored},
		"an event without a timestamp": {StoredEvent: stored, Sent: &chargeingest.StoredEvent{
			Content:           `{"a":"<\u0000é` + "\u2028" + `>","timestamp":"2026-09-01T12:00:00Z"}`,
			TimestampAssigned: true,
			Digest:            chargeingest.Digest{1, 2, 255},
		}},
		"an event with a number": {StoredEvent: stored, Sent: &chargeingest.StoredEvent{Content: `{"b":1.50}`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := chargeingest.BoundEvent{StoredEvent: stored}
			require.NoError(t, sent.Decode(sent.Encode(&want), &got))
			require.Equal(t, want, got)
		})
	}
}

func TestDamagedText(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":              `{`,
		"another type":         `[]`,
		"a digest that is cut": `{"content":"{}","digest":"AAA="}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, sent.Decode(&text, new(chargeingest.BoundEvent)))
		})
	}
}
