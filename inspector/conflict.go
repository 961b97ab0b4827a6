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

type conflictingEvent struct {
	Fields      []string `json:"fields"`
	Sent        string   `json:"sent"`
	Stored      string   `json:"stored"`
	StoredID    string   `json:"stored_id"` // empty for an earlier event of the batch
	SentLines   []int    `json:"sent_lines"`
	StoredLines []int    `json:"stored_lines"`
}

type storedConflict struct {
	id    string
	event chargeingest.StoredEvent
}

func (a *api) storedConflict(ctx context.Context, r *record) *storedConflict {
	if r.status != http.StatusConflict || r.stats.Code != chargeingest.CodeResourceAlreadyExists {
		return nil
	}
	var response struct {
		ResourceID string `json:"resource_id"`
	}
	if json.Unmarshal(r.response, &response) != nil {
		return nil
	}
	stored := storedConflict{id: response.ResourceID}
	if stored.id != "" {
		var err error
		if stored.event, err = a.cfg.Reader.Get(ctx, r.stats.Platform, stored.id); err != nil {
			return nil
		}
	}
	return &stored
}

func (a *api) compare(ctx context.Context, r *record, body []byte, stored *storedConflict) *conflictingEvent {
	if stored == nil {
		return nil
	}
	sent, earlier := conflictingEvents(body, r.stats.Field)
	normalized, ok := a.normalize(ctx, r, sent)
	if !ok {
		return nil
	}
	other, otherText := stored.event, earlier
	if stored.id != "" {
		otherText = storedJSON(other)
	} else {
		first, ok := a.normalize(ctx, r, earlier)
		if !ok {
			return nil
		}
		other = chargeingest.StoredEvent{Content: first.Content, TimestampAssigned: first.TimestampAssigned, Digest: first.Digest}
	}
	fields, err := storekit.Differences(other, &normalized)
	if err != nil {
		return nil
	}
	c := conflictingEvent{Fields: append([]string{}, fields...), StoredID: stored.id}
	lines := wantedLines(fields)
	c.Sent = pretty(sent, lines)
	c.SentLines = lines.existing(fields)
	lines = wantedLines(fields)
	c.Stored = pretty(otherText, lines)
	c.StoredLines = lines.existing(fields)
	return &c
}

func conflictingEvents(body []byte, field string) (sent, earlier []byte) {
	index := 0
	if path, ok := strings.CutPrefix(field, "charge_datas."); ok {
		number, _, _ := strings.Cut(path, ".")
		index, _ = strconv.Atoi(number)
	}
	texts := make(map[string][]byte)
	n := 0
	eachEvent(body, func(e sentEvent) bool {
		if n == index {
			sent, earlier = e.text, texts[e.reference]
		}
		texts[e.reference] = e.text
		n++
		return n <= index
	})
	return sent, earlier
}

func (a *api) normalize(ctx context.Context, r *record, text []byte) (e chargeingest.NewEvent, ok bool) {
	var event chargeingest.ChargeEvent
	if event.UnmarshalJSON(text) != nil {
		return e, false
	}
	ctx = context.WithValue(ctx, normalizedKey{}, &e)
	_, _ = a.events.Ingest(ctx, chargeingest.IngestRequest{Platform: r.stats.Platform, Events: []chargeingest.ChargeEvent{event}})
	return e, e.Content != ""
}

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
