package sent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/sent"
)

func TestRoundTrip(t *testing.T) {
	stored := chargeingest.StoredEvent{ID: "chda_1", Content: `{}`}
	want := []chargeingest.BoundEvent{
		{StoredEvent: stored},
		{StoredEvent: stored, Sent: &chargeingest.StoredEvent{
			Content:           `{"a":"<\u0000é` + "\u2028" + `>","timestamp":"2026-09-01T12:00:00Z"}`,
			TimestampAssigned: true,
			Digest:            chargeingest.Digest{1, 2, 255},
		}},
		{StoredEvent: stored, Sent: &chargeingest.StoredEvent{Content: `{"b":1.50}`}},
	}
	text := sent.Encode(want)
	require.NotNil(t, text)
	got := []chargeingest.BoundEvent{{StoredEvent: stored}, {StoredEvent: stored}, {StoredEvent: stored}}
	require.NoError(t, sent.Decode(*text, got))
	require.Equal(t, want, got)
}

func TestNothingSentDiffers(t *testing.T) {
	events := make([]chargeingest.BoundEvent, 2)
	require.Nil(t, sent.Encode(events))
	require.NoError(t, sent.Decode("", events))
	require.Equal(t, make([]chargeingest.BoundEvent, 2), events)
}

func TestDamagedText(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":                  `[`,
		"another number of them":   `[null,null]`,
		"a digest that is cut":     `[{"content":"{}","digest":"AAA="}]`,
		"an entry of another type": `[1]`,
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, sent.Decode(text, make([]chargeingest.BoundEvent, 1)))
		})
	}
}
