package chargeclient

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/jsontree"
)

const (
	eventPath  = "v1/ingest/charge-data"
	batchPath  = "v1/ingest/charge-datas"
	batchField = "charge_datas"

	maxKeyLength = 255
)

// Result holds the stored events.
type Result struct {
	Events   []Event // in the order of the request
	Replayed int     // had been stored before, if the server reports it
}

// Request is a request with a batch of events.
type Request struct {
	// Events are sent unchanged.
	Events []json.RawMessage

	// IdempotencyKey is by default a random one if an event has no reference.
	IdempotencyKey string
}

// Send stores an event. Errors of the request are [*Error].
func (c *Client) Send(ctx context.Context, e chargeingest.ChargeEvent) (stored Event, replayed bool, err error) {
	text, err := e.MarshalJSON()
	if err != nil {
		return Event{}, false, fmt.Errorf("chargeclient: %w", err)
	}
	references := referencesOf([]json.RawMessage{text})
	err = c.do(ctx, &request{
		path: eventPath, body: text, key: keyFor(references),
		decode: func(h http.Header, body []byte) (err error) {
			if stored, err = decodeEvent(body); err != nil {
				return err
			}
			replayed = h.Get("Idempotent-Replayed") == "true"
			return checkReferences(storedReferences([]Event{stored}), references)
		},
	}, c.cfg.RetryTimeout)
	if err != nil {
		return Event{}, false, err
	}
	return stored, replayed, nil
}

// SendBatch stores events in as many requests as needed, each as a whole or not at all. After
// an error, the result has the events stored before. Events with references can be sent again.
func (c *Client) SendBatch(ctx context.Context, events []chargeingest.ChargeEvent) (Result, error) {
	texts := make([]json.RawMessage, len(events))
	for i := range events {
		text, err := events[i].MarshalJSON()
		if err != nil {
			return Result{}, fmt.Errorf("chargeclient: event %d: %w", i, err)
		}
		texts[i] = text
	}
	var result Result
	maxEvents := c.cfg.MaxBatchEvents
	for next := 0; next < len(texts); {
		part := c.firstBatch(texts[next:], maxEvents)
		stored, err := c.sendBatch(ctx, part, "")
		var failed *Error
		switch {
		case err == nil:
			next += len(part)
			result.Events = append(result.Events, stored.Events...)
			result.Replayed += stored.Replayed
		case errors.As(err, &failed) && failed.isTooLarge() && len(part) > 1:
			maxEvents = (len(part) + 1) / 2
		default:
			if failed != nil {
				failed.shiftIndex(next)
			}
			return result, err
		}
	}
	return result, nil
}

func (c *Client) firstBatch(texts []json.RawMessage, maxEvents int) []json.RawMessage {
	size := len(batchBody(nil))
	for i, text := range texts[:min(len(texts), maxEvents)] {
		if size += len(text) + 1; size > c.cfg.MaxBatchBytes && i > 0 {
			return texts[:i]
		}
	}
	return texts[:min(len(texts), maxEvents)]
}

// SendJSON stores the events of exactly one request of any size.
func (c *Client) SendJSON(ctx context.Context, r Request) (Result, error) {
	switch {
	case len(r.Events) == 0:
		return Result{}, errors.New("chargeclient: Request.Events is empty")
	case len(r.IdempotencyKey) > maxKeyLength || !isVisibleASCII(r.IdempotencyKey):
		return Result{}, errors.New("chargeclient: Request.IdempotencyKey must be 1 to 255 visible ASCII characters")
	}
	for i, text := range r.Events {
		if !json.Valid(text) {
			return Result{}, fmt.Errorf("chargeclient: Request.Events: event %d is not valid JSON", i)
		}
	}
	return c.sendBatch(ctx, r.Events, r.IdempotencyKey)
}

func (c *Client) sendBatch(ctx context.Context, texts []json.RawMessage, key string) (result Result, err error) {
	references := referencesOf(texts)
	if key == "" {
		key = keyFor(references)
	}
	err = c.do(ctx, &request{
		path: batchPath, body: batchBody(texts), key: key,
		decode: func(h http.Header, body []byte) (err error) {
			if result, err = decodeResult(h, body); err != nil {
				return err
			}
			return checkReferences(storedReferences(result.Events), references)
		},
	}, c.cfg.RetryTimeout)
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

func batchBody(texts []json.RawMessage) []byte {
	const head = `{"` + batchField + `":[`
	size := len(head) + len("]}")
	for _, text := range texts {
		size += len(text) + len(",")
	}
	body := append(make([]byte, 0, size), head...)
	for i, text := range texts {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, text...)
	}
	return append(body, "]}"...)
}

func referencesOf(texts []json.RawMessage) []string {
	references := make([]string, len(texts))
	for i, text := range texts {
		start, end, err := jsontree.Find(text, `"reference"`)
		if err != nil || json.Unmarshal(text[start:end], &references[i]) != nil {
			references[i] = ""
		}
	}
	return references
}

func keyFor(references []string) string {
	if slices.Contains(references, "") {
		return rand.Text()
	}
	return ""
}

func decodeResult(h http.Header, body []byte) (Result, error) {
	var batch struct {
		Events []json.RawMessage `json:"charge_datas"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		return Result{}, errNotEndpoint
	}
	events, err := decodeEvents(batch.Events)
	if err != nil {
		return Result{}, err
	}
	return Result{Events: events, Replayed: replayedEvents(h, len(events))}, nil
}

// replayedEvents accepts a missing count, which the published API does not have.
func replayedEvents(h http.Header, n int) int {
	count, err := strconv.Atoi(h.Get("Idempotent-Replayed-Count"))
	switch {
	case err == nil && count >= 0 && count <= n:
		return count
	case h.Get("Idempotent-Replayed") == "true":
		return n
	}
	return 0
}

func storedReferences(events []Event) []string {
	references := make([]string, len(events))
	for i, e := range events {
		if e.Reference != nil {
			references[i] = *e.Reference
		}
	}
	return references
}

func checkReferences(stored, sent []string) error {
	if len(stored) != len(sent) {
		return fmt.Errorf("the response has %d events, the request had %d", len(stored), len(sent))
	}
	for i := range sent {
		if stored[i] != sent[i] {
			return fmt.Errorf("event %d of the response has the reference %q, not %q", i, stored[i], sent[i])
		}
	}
	return nil
}
