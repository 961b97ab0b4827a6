package inspector

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestConflict(t *testing.T) {
	event := func(fields string) string {
		return `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"r",` + fields + `}`
	}
	const amount = `"value":{"number":"1","amount":{"quantity":"10","currency":"EUR"}}`
	batch := func(events ...string) string { return `{"charge_datas":[` + strings.Join(events, ",") + `]}` }
	other := strings.Replace(event(`"description":"x"`), `"r"`, `"other"`, 1)
	for _, c := range []struct {
		name, stored, sent string
		fields             []string
		sentLine           string
		storedLine         string
	}{
		{"a value", event(amount), event(strings.Replace(amount, `"10"`, `"11"`, 1)), []string{"value.amount.quantity"}, `"quantity": "11",`, `"quantity": "10",`},
		{"a missing field", event(amount), event(`"description":null`), []string{"value"}, "", `"value": {`},
		{"a timestamp", event(`"timestamp":"2026-05-01T00:00:00Z"`), event(`"description":"x","timestamp":"2026-05-01T02:00:00+02:00"`),
			[]string{"description"}, `"description": "x",`, `"description": null,`},
		{"an assigned timestamp", event(`"description":"x"`), event(`"description":"y","timestamp":null`), []string{"description"}, `"description": "y",`, `"description": "x",`},
		{"read-only fields", event(`"description":"x"`), event(`"id":"mine","object_type":[1],"description":"y"`), []string{"description"}, `"description": "y"`, `"description": "x",`},
		{"unknown fields", event(`"extra":1`), event(`"extra":{"a":2}`), []string{"extra"}, `"extra": {`, `"extra": 1`},
		{"in a batch", event(`"description":"x"`), batch(other, event(`"description":"y"`)), []string{"description"}, `"description": "y"`, `"description": "x",`},
		{"within a batch", "", batch(event(`"description":"x"`), other, event(`"description":"y"`)), []string{"description"}, `"description": "y"`, `"description": "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := memstore.New()
			i := newInspector(t, func(cfg *Config) { cfg.Reader = store })
			h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: newKeys(t), KeepUnknownFields: true, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			send := func(body string) int {
				path := eventPath
				if strings.Contains(body, "charge_datas") {
					path += "s"
				}
				w := httptest.NewRecorder()
				i.Middleware(h).ServeHTTP(w, post(path, body))
				return w.Code
			}
			if c.stored != "" {
				require.Equal(t, http.StatusCreated, send(c.stored))
			}
			require.Equal(t, http.StatusConflict, send(c.sent))
			newest := get[shownList](t, i, testKey, "api/requests").Requests[0]
			got := get[detail](t, i, testKey, requestPath(newest.ID)).Conflict
			require.NotNil(t, got)
			require.Equal(t, c.fields, got.Fields)
			require.Equal(t, c.stored != "", strings.HasPrefix(got.StoredID, "chda_"))
			line := func(text string, lines []int) string {
				if len(lines) == 0 {
					return ""
				}
				return strings.TrimSpace(strings.Split(text, "\n")[lines[0]-1])
			}
			require.Equal(t, c.sentLine, line(got.Sent, got.SentLines))
			require.Equal(t, c.storedLine, line(got.Stored, got.StoredLines))
			require.Contains(t, got.Sent, `"reference": "r"`)
		})
	}
}

type oneEvent struct{ failingReader }

func (oneEvent) Get(_ context.Context, _, id string) (chargeingest.StoredEvent, error) {
	if id != "chda_y" {
		return chargeingest.StoredEvent{}, chargeingest.ErrNotFound
	}
	return chargeingest.StoredEvent{ID: id, Content: `{"description":"x"}`}, nil
}

func TestConflictWithoutEvents(t *testing.T) {
	event := []byte(`{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"r"}`)
	for name, change := range map[string]func(*record){
		"":                   func(*record) {},
		"another code":       func(r *record) { r.stats.Code = chargeingest.CodeIdempotencyCheckFailed },
		"an unknown id":      func(r *record) { r.response = []byte(`{"resource_id":"chda_x"}`) },
		"no id":              func(r *record) { r.response = []byte(`{}`) },
		"a body that is cut": func(r *record) { r.body = event[:50] },
		"a large index":      func(r *record) { r.stats.Field = "charge_datas.99999999999999999999.reference" },
		"no body":            func(r *record) { r.body = nil },
		"no response":        func(r *record) { r.response = nil },
	} {
		t.Run(name, func(t *testing.T) {
			i := newViewed(t, func(cfg *Config) { cfg.Reader = oneEvent{} })
			id := addRecord(i, func(r *record) {
				r.status, r.stats.Code, r.stats.Field = 409, chargeingest.CodeResourceAlreadyExists, "reference"
				r.body, r.response = event, []byte(fmt.Sprintf(`{"resource_id":%q}`, "chda_y"))
				change(r)
			})
			require.Equal(t, name != "", get[detail](t, i, "ada", requestPath(id)).Conflict == nil)
		})
	}
}
