package inspector

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/storekit"
)

// conflictingEvent compares a sent event with the event that has its reference.
type conflictingEvent struct {
	Fields      []string `json:"fields"`
	Sent        string   `json:"sent"`
	Stored      string   `json:"stored"`
	StoredID    string   `json:"stored_id"` // empty if it is an earlier event of the batch
	SentLines   []int    `json:"sent_lines"`
	StoredLines []int    `json:"stored_lines"`
}

// conflict returns nil unless both events are available.
func (a *api) conflict(ctx context.Context, r *record, body []byte) *conflictingEvent {
	if r.status != http.StatusConflict || r.stats.Code != chargeingest.CodeResourceAlreadyExists {
		return nil
	}
	var response struct {
		ResourceID string `json:"resource_id"`
	}
	if json.Unmarshal(r.response, &response) != nil {
		return nil
	}
	sent, earlier := conflictingEvents(body, r.stats.Field)
	if sent == nil {
		return nil
	}
	normalized, ok := a.normalize(ctx, r, sent)
	if !ok {
		return nil
	}
	c := conflictingEvent{StoredID: response.ResourceID, Sent: pretty(sent, nil)}
	var stored chargeingest.StoredEvent
	var storedText []byte
	switch {
	case c.StoredID != "":
		var err error
		if stored, err = a.cfg.Reader.Get(ctx, r.stats.Platform, c.StoredID); err != nil {
			return nil
		}
		storedText = storedJSON(stored)
	case earlier != nil:
		first, ok := a.normalize(ctx, r, earlier)
		if !ok {
			return nil
		}
		stored = chargeingest.StoredEvent{Content: first.Content, TimestampAssigned: first.TimestampAssigned, Digest: first.Digest}
		storedText = earlier
	default:
		return nil
	}
	fields, err := storekit.Differences(stored, &normalized)
	if err != nil {
		return nil
	}
	c.Fields = append([]string{}, fields...)
	lines := wantedLines(fields)
	c.Sent = pretty(sent, lines)
	c.SentLines = lines.existing(fields)
	lines = wantedLines(fields)
	c.Stored = pretty(storedText, lines)
	c.StoredLines = lines.existing(fields)
	return &c
}

// conflictingEvents returns the event whose reference the response names, and the first
// event of the batch with the same reference.
func conflictingEvents(body []byte, field string) (sent, earlier []byte) {
	index := 0
	if path, ok := strings.CutPrefix(field, "charge_datas."); ok {
		number, _, _ := strings.Cut(path, ".")
		index, _ = strconv.Atoi(number)
	}
	first := make(map[string][]byte)
	n := 0
	eachEvent(body, func(e sentEvent) bool {
		if n == index && e.complete {
			sent, earlier = e.text, first[e.reference]
		}
		if first[e.reference] == nil {
			first[e.reference] = e.text
		}
		n++
		return n <= index
	})
	return sent, earlier
}

// normalize returns the event as stores get it.
func (a *api) normalize(ctx context.Context, r *record, text []byte) (e chargeingest.NewEvent, ok bool) {
	var event chargeingest.ChargeEvent
	if event.UnmarshalJSON(text) != nil {
		return e, false
	}
	ctx = context.WithValue(ctx, normalizedKey{}, &e)
	_, _ = a.events.Ingest(ctx, chargeingest.IngestRequest{Platform: r.stats.Platform, Events: []chargeingest.ChargeEvent{event}})
	return e, e.Content != ""
}

// storedJSON returns the event like a response.
func storedJSON(e chargeingest.StoredEvent) []byte {
	event, err := e.Event()
	if err != nil {
		return []byte(e.Content)
	}
	text, err := event.MarshalJSON()
	if err != nil {
		return []byte(e.Content)
	}
	return text
}
