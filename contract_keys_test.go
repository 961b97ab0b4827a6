package chargeingest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An event that a key's request repeated is read back and sent again with the
// key. Its timestamp is the one that the service assigned, and so equal to none.
func TestReturnedEventUnderItsKey(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]string{
		"spelled alike":     event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00Z"}`),
		"spelled otherwise": event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00+00:00"}`),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			first := f.post(t, eventPath, event(`"reference":"r"`, `"period":{"start_at":"2026-01-01T00:00:00Z"}`))
			stored := first.requireStored(t)
			f.advance(time.Hour)
			f.post(t, eventPath, again, "Idempotency-Key: k").requireReplayOf(t, first)
			f.post(t, eventPath, again, "Idempotency-Key: k").requireReplayOf(t, first)
			readBack := f.get(t, eventPath+"/"+stored["id"].(string))
			require.Equal(t, 200, readBack.status)
			f.post(t, eventPath, readBack.text, "Idempotency-Key: k").requireReplayOf(t, first)
		})
	}
}
