package storekit

import (
	"encoding/json"
	"fmt"

	"example.com/chargeingest"
)

// IdempotencyRecord is what a store keeps of a request with an idempotency key.
type IdempotencyRecord struct {
	Route  chargeingest.Route
	Digest chargeingest.Digest

	// Events are in the order of the request.
	Events []RecordedEvent
}

// RecordedEvent is an event of a recorded request.
type RecordedEvent struct {
	// StoredEvent is what the request returned.
	chargeingest.StoredEvent

	// Sent is the event that the client sent, without an id, for comparison with retries. It is
	// set only under chargeingest.ReturnOriginal, if its content may differ.
	Sent *chargeingest.StoredEvent
}

type sentJSON struct {
	Content           string `json:"content"`
	TimestampAssigned bool   `json:"timestamp_assigned,omitempty"`
	Digest            []byte `json:"digest"`
}

// EncodeSent returns Sent as JSON for a database column, or nil.
func (e *RecordedEvent) EncodeSent() *string {
	if e.Sent == nil {
		return nil
	}
	text, _ := json.Marshal(sentJSON{e.Sent.Content, e.Sent.TimestampAssigned, e.Sent.Digest[:]})
	return new(string(text))
}

// DecodeSent sets Sent from the result of EncodeSent, or to nil if text is nil or
// empty.
func (e *RecordedEvent) DecodeSent(text *string) error {
	if text == nil || *text == "" {
		return nil
	}
	var decoded sentJSON
	if err := json.Unmarshal([]byte(*text), &decoded); err != nil {
		return fmt.Errorf("decode the sent content of event %s: %w", e.ID, err)
	}
	if len(decoded.Digest) != len(e.Digest) {
		return fmt.Errorf("decode the sent content of event %s: digest has %d bytes", e.ID, len(decoded.Digest))
	}
	e.Sent = &chargeingest.StoredEvent{Content: decoded.Content, TimestampAssigned: decoded.TimestampAssigned}
	copy(e.Sent.Digest[:], decoded.Digest)
	return nil
}
