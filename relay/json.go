package relay

import (
	"errors"
	"slices"
	"strings"

	"example.com/chargeingest"
)

// EventJSON returns the event as the endpoint does, with object_type and id.
func EventJSON(e *chargeingest.StoredEvent) ([]byte, error) {
	fields, ok := strings.CutPrefix(e.Content, "{")
	if !ok {
		return nil, errors.New("the stored event is not a JSON object")
	}
	const head, next = `{"object_type":"CHARGE_DATA","id":"`, `",`
	return slices.Concat([]byte(head), []byte(e.ID), []byte(next), []byte(fields)), nil
}
