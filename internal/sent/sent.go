// Package sent encodes the contents that were sent under an idempotency key, for
// stores that keep them in one column.
package sent

import (
	"encoding/json"
	"fmt"

	"example.com/chargeingest"
)

// event is an entry of the encoded list.
type event struct {
	Content           string `json:"content"`
	TimestampAssigned bool   `json:"timestamp_assigned,omitempty"`
	Digest            []byte `json:"digest"`
}

// Encode returns the Sent of each event as a JSON list; nil if none is set.
func Encode(events []chargeingest.BoundEvent) *string {
	list := make([]*event, len(events))
	any := false
	for i := range events {
		if s := events[i].Sent; s != nil {
			any = true
			list[i] = &event{s.Content, s.TimestampAssigned, s.Digest[:]}
		}
	}
	if !any {
		return nil
	}
	text, _ := json.Marshal(list) // strings, bytes and booleans always encode
	return new(string(text))
}

// Decode sets the Sent of each event from a list of Encode. An empty text sets
// none.
func Decode(text string, events []chargeingest.BoundEvent) error {
	if text == "" {
		return nil
	}
	var list []*event
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("sent events: %w", err)
	}
	if len(list) != len(events) {
		return fmt.Errorf("%d sent events for %d returned ones", len(list), len(events))
	}
	for i, e := range list {
		if e == nil {
			continue
		}
		events[i].Sent = &chargeingest.StoredEvent{Content: e.Content, TimestampAssigned: e.TimestampAssigned}
		if copy(events[i].Sent.Digest[:], e.Digest) != len(events[i].Sent.Digest) {
			return fmt.Errorf("a sent event has a digest of %d bytes", len(e.Digest))
		}
	}
	return nil
}
