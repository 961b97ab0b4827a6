// Package sent encodes what a client sent under an idempotency key, for stores that
// keep it in one column.
package sent

import (
	"encoding/json"
	"fmt"

	"example.com/chargeingest"
)

// event is the encoded form.
type event struct {
	Content           string `json:"content"`
	TimestampAssigned bool   `json:"timestamp_assigned,omitempty"`
	Digest            []byte `json:"digest"`
}

// Encode returns the Sent of an event as JSON; nil if it is not set.
func Encode(e *chargeingest.BoundEvent) *string {
	if e.Sent == nil {
		return nil
	}
	// Strings, bytes and booleans always encode.
	text, _ := json.Marshal(event{e.Sent.Content, e.Sent.TimestampAssigned, e.Sent.Digest[:]})
	return new(string(text))
}

// Decode sets the Sent of an event from a text of Encode; nil and the empty text
// set none.
func Decode(text *string, e *chargeingest.BoundEvent) error {
	if text == nil || *text == "" {
		return nil
	}
	var decoded event
	if err := json.Unmarshal([]byte(*text), &decoded); err != nil {
		return fmt.Errorf("what was sent for event %s: %w", e.ID, err)
	}
	if len(decoded.Digest) != len(e.Digest) {
		return fmt.Errorf("what was sent for event %s has a digest of %d bytes", e.ID, len(decoded.Digest))
	}
	e.Sent = &chargeingest.StoredEvent{Content: decoded.Content, TimestampAssigned: decoded.TimestampAssigned}
	copy(e.Sent.Digest[:], decoded.Digest)
	return nil
}
