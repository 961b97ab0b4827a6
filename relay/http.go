package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/jsontree"
)

// HTTPConfig configures an [HTTP]. See also [chargeclient.Config].
type HTTPConfig struct {
	URL        string
	APIKey     string
	Token      string
	HTTPClient *http.Client

	Platform string // for the events of only one platform; default: the event's

	// KeepMissingReferences sends an event without a reference alone, with its id as
	// Idempotency-Key. By default the id is sent as the reference.
	KeepMissingReferences bool
}

// HTTP is a [Sink] that sends events to a charge event endpoint. Each Send is one request.
//
// If some events of a batch are repeated, the first results are [Repeated].
type HTTP struct {
	client *chargeclient.Client
	cfg    HTTPConfig

	mu     sync.Mutex
	source string // if Platform is set
}

var _ Sink = (*HTTP)(nil)

// NewHTTP returns a sink. Errors name the field.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	client, err := chargeclient.New(chargeclient.Config{
		URL: cfg.URL, APIKey: cfg.APIKey, Token: cfg.Token, Platform: cfg.Platform,
		HTTPClient: cfg.HTTPClient, MaxAttempts: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("relay: HTTP: %w", err)
	}
	return &HTTP{client: client, cfg: cfg}, nil
}

// Format hides the credential.
func (h *HTTP) Format(s fmt.State, verb rune) { h.client.Format(s, verb) }

// Send implements [Sink].
func (h *HTTP) Send(ctx context.Context, platform string, events []chargeingest.StoredEvent) ([]Result, error) {
	if len(events) == 0 {
		return nil, nil
	}
	if err := h.checkSource(platform); err != nil {
		return nil, err
	}
	results := make([]Result, len(events))
	r, damage := h.request(events)
	if damage != "" {
		results[0] = Result{Outcome: Rejected, Reason: Reason{Message: damage}}
		return results, nil
	}
	if h.cfg.Platform == "" {
		r.Platform = platform
	}
	replayed, err := h.client.SendRaw(ctx, r)
	if err != nil {
		return judge(err, results, len(r.Events))
	}
	for i := range r.Events {
		results[i].Outcome = Delivered
		if i < replayed {
			results[i].Outcome = Repeated
		}
	}
	return results, nil
}

func (h *HTTP) checkSource(platform string) error {
	if h.cfg.Platform == "" {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.source == "" {
		h.source = platform
	}
	if h.source != platform {
		return fmt.Errorf("relay: HTTPConfig.Platform is for the events of one platform, but there are events of %q and %q", h.source, platform)
	}
	return nil
}

// request has the first events, or what is wrong with the first one.
func (h *HTTP) request(events []chargeingest.StoredEvent) (r chargeclient.RawRequest, damage string) {
	for i := range events {
		text, reference, err := h.encode(&events[i])
		isAlone := err != nil || reference == ""
		if isAlone && i > 0 {
			break
		}
		if err != nil {
			return r, cut("the stored event is damaged: " + err.Error())
		}
		r.Events, r.References = append(r.Events, text), append(r.References, reference)
		if isAlone {
			r.IdempotencyKey = events[i].ID
			break
		}
	}
	return r, ""
}

func (h *HTTP) encode(e *chargeingest.StoredEvent) (text json.RawMessage, reference string, err error) {
	text = json.RawMessage(e.Content)
	start, end, err := jsontree.Find(text, `"reference"`)
	if err != nil {
		return nil, "", err
	}
	hasField := end > 0
	if hasField {
		if err := json.Unmarshal(text[start:end], &reference); err != nil {
			return nil, "", err
		}
	}
	if reference != "" || h.cfg.KeepMissingReferences {
		return text, reference, nil
	}
	id, err := json.Marshal(e.ID)
	if err != nil {
		return nil, "", err
	}
	if hasField {
		return slices.Replace(text, start, end, id...), e.ID, nil
	}
	return slices.Concat(json.RawMessage(`{"reference":`), id, json.RawMessage(`,`), text[1:]), e.ID, nil
}
