package inspector

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
)

func TestEvents(t *testing.T) {
	store := memstore.New()
	i := newInspector(t, func(cfg *Config) { cfg.Reader = store })
	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: newKeys(t)})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, post(eventPath, testEvent))
	require.Equal(t, http.StatusCreated, w.Code)
	stored := w.Body.String()
	var event struct{ ID string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &event))

	mux := http.NewServeMux()
	mux.Handle("/{version}/{id}/", http.StripPrefix("/v7/x", i))
	for _, c := range []struct {
		path, platform string
		status         int
		want           string
	}{
		{"api/events/" + event.ID, "", 200, stored},
		{"api/events/" + event.ID, "pf_b", 404, ""},
		{"api/events/chda_x", "", 404, ""},
		{"api/events?reference=order-42&limit=7", "", 200, `{"data":[` + stored + `],"limit":7,"next":null}`},
		{"api/events", "pf_b", 200, `{"data":[],"limit":50,"next":null}`},
		{"api/events?x=1", "", 400, ""},
		{"api/events?after=x", "", 400, ""},
	} {
		w := call{key: testKey, platform: c.platform}.do(mux, "v7/x/"+c.path)
		require.Equal(t, c.status, w.Code, c.path)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		if c.want != "" {
			require.JSONEq(t, c.want, w.Body.String(), c.path)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Get(context.Context, string, string) (chargeingest.StoredEvent, error) {
	return chargeingest.StoredEvent{}, r.err
}

func (r failingReader) List(context.Context, chargeingest.Query) (chargeingest.Page, error) {
	return chargeingest.Page{}, r.err
}

func TestEventsOfFailingReaders(t *testing.T) {
	i := newViewed(t, func(cfg *Config) { cfg.Reader = failingReader{errors.New("secret path")} })
	for _, path := range []string{"api/events", "api/events/chda_x"} {
		w := call{key: "ada"}.do(i, path)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.NotContains(t, w.Body.String(), "secret")
	}
}

func TestOverview(t *testing.T) {
	checkpoint, free := testTime.Add(-time.Minute), int64(0)
	i := newViewed(t, func(cfg *Config) {
		cfg.Stats = statsFunc(func() chargeingest.StoreStats {
			return chargeingest.StoreStats{
				QueuedRequests: 1, QueuedEvents: 2, WALBytes: 3, LastCheckpoint: checkpoint, DatabaseBytes: 4, DiskFreeBytes: &free, Commits: 5,
				LastCommit: chargeingest.CommitStats{Requests: 6, Events: 7, Duration: 1500 * time.Microsecond, Err: errors.New("secret")},
			}
		})
	})
	addRecord(i, func(r *record) { r.stats.Events, r.stats.Replayed = 5, 2 })
	addRecord(i, func(r *record) {
		r.status, r.stats.Status, r.stats.Events, r.stats.Route = 400, 400, 0, chargeingest.RouteBatch
		r.stats.Code, r.stats.Field = chargeingest.CodeInvalidField, "charge_datas.3.value.number"
	})
	w := call{key: "ada"}.do(i, "api/overview")
	require.NotContains(t, w.Body.String(), "secret")
	var o struct {
		overview
		Store json.RawMessage `json:"store"`
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &o))
	require.Len(t, o.Minutes, 60)
	require.Equal(t, minuteCount{testTime, 3, 2, 1}, o.Minutes[59])
	require.Equal(t, testTime.Add(-59*time.Minute), o.Minutes[0].Time)
	require.Equal(t, []refusalCount{{"INVALID_FIELD", "charge_datas.*.value.number", 1}}, o.Refusals)
	require.Equal(t, 2, o.Requests.Count)
	require.JSONEq(t, `{"queued_requests":1,"queued_events":2,"commits":5,"last_commit":{"requests":6,"events":7,"duration_ms":1.5,"error":true},
		"wal_bytes":3,"wal_blocked_since":null,"last_checkpoint":"2026-09-01T11:59:00Z","database_bytes":4,"disk_free_bytes":0,"newest_event":null}`, string(o.Store))

	other := get[overview](t, i, "bob", "api/overview")
	require.Zero(t, other.Minutes[59].Accepted)
	require.Empty(t, other.Refusals)
}

func TestOverviewWithoutStats(t *testing.T) {
	w := call{key: "ada"}.do(newViewed(t, nil), "api/overview")
	require.Contains(t, w.Body.String(), `"refusals":[],"requests":{"count":0,"bytes":0},"store":null}`)
	i := newViewed(t, func(cfg *Config) { cfg.Stats = statsFunc(func() chargeingest.StoreStats { panic("secret") }) })
	w = call{key: "ada"}.do(i, "api/overview")
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "secret")
}
