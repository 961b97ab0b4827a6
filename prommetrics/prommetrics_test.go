package prommetrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/prommetrics"
	"example.com/chargeingest/sqlitestore"
)

type endpoint struct {
	*chargeingest.Handler
	*prommetrics.Metrics
	registry *prometheus.Registry
}

func newEndpoint(t *testing.T) endpoint {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	store, err := sqlitestore.OpenWith(t.Context(), filepath.Join(t.TempDir(), "charges.db"), sqlitestore.Options{Observer: m.ObserveCommit})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, m.RegisterStore(store))
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: "secret", Subject: "test", Platforms: []string{"acme"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView},
	})
	require.NoError(t, err)
	h, err := chargeingest.New(chargeingest.Config{
		Store: store, Authorizer: keys, Observer: m.ObserveRequest, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return endpoint{h, m, registry}
}

func event(reference string) string {
	return `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"` + reference + `"}`
}

func (e endpoint) send(method, path, body string) int {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("X-API-KEY", "secret")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code
}

func (e endpoint) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body.String())
	decoder := expfmt.SampleDecoder{
		Dec:  expfmt.NewDecoder(w.Body, expfmt.NewFormat(expfmt.TypeTextPlain)),
		Opts: &expfmt.DecodeOptions{},
	}
	samples := make(map[string]float64)
	for {
		var v model.Vector
		if decoder.Decode(&v) != nil {
			return samples
		}
		for _, s := range v {
			samples[s.Metric.String()] = float64(s.Value)
		}
	}
}

func TestMixedRequests(t *testing.T) {
	e := newEndpoint(t)
	var mu sync.Mutex
	statuses := make(map[int]int)
	bytes := 0
	var sending sync.WaitGroup
	for worker := range 4 {
		sending.Go(func() {
			for i := range 250 {
				name := fmt.Sprintf("%d-%d", worker, i)
				method, path, body := http.MethodPost, "/v1/ingest/charge-data", event(name)
				switch i % 10 {
				case 1: // a replay
					body = event(fmt.Sprintf("%d-%d", worker, i-1))
				case 2: // three events, one replayed
					path, body = "/v1/ingest/charge-datas", `{"charge_datas":[`+event(name)+","+event(name+"b")+","+event(fmt.Sprintf("%d-%d", worker, i-2))+`]}`
				case 3: // rejected
					body = `{"reference":"` + name + `"}`
				case 4: // list
					method, body = http.MethodGet, ""
					path += "?limit=1"
				case 5: // unknown path
					path = "/elsewhere/" + name
				}
				status := e.send(method, path, body)
				mu.Lock()
				statuses[status]++
				if i%10 != 5 {
					bytes += len(body)
				}
				mu.Unlock()
			}
		})
	}
	sending.Wait()
	require.Equal(t, map[int]int{201: 700, 400: 100, 200: 100, 404: 100}, statuses)

	m := e.scrape(t)
	require.Equal(t, map[string]float64{
		`chargeingest_requests_total{code="201", error="", route="charge-data"}`:                600,
		`chargeingest_requests_total{code="201", error="", route="charge-datas"}`:               100,
		`chargeingest_requests_total{code="400", error="MISSING_FIELD", route="charge-data"}`:   100,
		`chargeingest_requests_total{code="200", error="", route="charge-data list"}`:           100,
		`chargeingest_requests_total{code="404", error="RESOURCE_NOT_FOUND", route="none"}`:     100,
		`chargeingest_requests_total{code="500", error="INTERNAL_ERROR", route="charge-data"}`:  0,
		`chargeingest_requests_total{code="500", error="INTERNAL_ERROR", route="charge-datas"}`: 0,
	}, withPrefix(m, "chargeingest_requests_total"))
	require.Equal(t, 500+200, int(m["chargeingest_events_accepted_total"]))
	require.Equal(t, 100+100, int(m["chargeingest_events_replayed_total"]))
	require.Equal(t, 1000, sum(withPrefix(m, "chargeingest_request_duration_seconds_count")))
	require.Equal(t, bytes, sum(withPrefix(m, "chargeingest_request_body_bytes_total")))
	require.Equal(t, 700, int(m["chargeingest_commit_events_sum"]), "committed events are accepted events")
	require.Positive(t, m["chargeingest_commit_events_count"])
	commits := int(m["chargeingest_commit_events_count"])
	require.Equal(t, commits, int(m[`chargeingest_commits_total{result="success"}`]))
	require.Equal(t, commits, int(m["chargeingest_commit_duration_seconds_count"]))
	require.Positive(t, m["chargeingest_commit_duration_seconds_sum"])
	require.Zero(t, m[`chargeingest_commits_total{result="failure"}`])
	require.Zero(t, m["chargeingest_store_queued_events"])
	require.Zero(t, m["chargeingest_store_queued_requests"])
	require.Positive(t, m["chargeingest_store_wal_bytes"])
	require.Positive(t, m["chargeingest_store_database_bytes"])
	require.Positive(t, m["chargeingest_store_free_bytes"])
	require.Contains(t, m, "chargeingest_requests_discarded_total")
	require.Zero(t, m["chargeingest_requests_discarded_total"])
	require.InDelta(t, time.Now().Unix(), m["chargeingest_store_last_checkpoint_timestamp_seconds"], 60)
	require.Contains(t, m, "chargeingest_store_wal_blocked_seconds")
	require.Zero(t, m["chargeingest_store_wal_blocked_seconds"])
}

func withPrefix(samples map[string]float64, prefix string) map[string]float64 {
	found := make(map[string]float64)
	for name, value := range samples {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

func sum(samples map[string]float64) (total int) {
	for _, value := range samples {
		total += int(value)
	}
	return total
}

func TestNamingConventions(t *testing.T) {
	e := newEndpoint(t)
	e.send(http.MethodPost, "/v1/ingest/charge-data", event("a"))
	e.ObservePrune(0, nil)
	problems, err := testutil.GatherAndLint(e.registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	families, err := e.registry.Gather()
	require.NoError(t, err)
	require.Len(t, families, 21, "every metric was looked at")
}

func TestClientsCannotMakeLabels(t *testing.T) {
	e := newEndpoint(t)
	for i := range 200 {
		e.send(fmt.Sprintf("M%d", i), fmt.Sprintf("/v%d/ingest/charge-data", i), "{}")
		e.send(http.MethodGet, fmt.Sprintf("/v1/ingest/charge-data/id-%d", i), "")
		e.send(http.MethodPost, fmt.Sprintf("/v1/%d", i), fmt.Sprintf(`{"f%d":1}`, i))
		e.send(http.MethodPost, "/v1/ingest/charge-data", fmt.Sprintf(`{"f%d":1}`, i))
	}
	require.Less(t, len(e.scrape(t)), 200)
}

func TestFailedCommit(t *testing.T) {
	registry := prometheus.NewRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	e := endpoint{registry: registry}
	require.Contains(t, e.scrape(t), `chargeingest_commits_total{result="failure"}`, "present before the first failure")
	m.ObserveCommit(chargeingest.CommitStats{Requests: 3, Duration: time.Second, Err: errors.New("disk")})
	got := e.scrape(t)
	require.Equal(t, 1, int(got[`chargeingest_commits_total{result="failure"}`]))
	require.Zero(t, got["chargeingest_commit_events_count"])
}

func TestPrunesAndKeyReloads(t *testing.T) {
	e := newEndpoint(t)
	const lastPrune = "chargeingest_last_prune_timestamp_seconds"
	before := e.scrape(t)
	require.NotContains(t, before, lastPrune)
	for _, name := range []string{`prunes_total{result="failure"}`, `key_reloads_total{result="failure"}`} {
		require.Contains(t, before, "chargeingest_"+name, "present before the first failure")
	}
	require.Equal(t, 1, int(before["chargeingest_key_last_reload_successful"]))

	e.ObservePrune(3, errors.New("disk"))
	e.ObserveKeyReload(errors.New("not JSON"))
	failed := e.scrape(t)
	require.NotContains(t, failed, lastPrune)
	require.Equal(t, 3, int(failed["chargeingest_events_pruned_total"]))
	require.Equal(t, 1, int(failed[`chargeingest_prunes_total{result="failure"}`]))
	require.Equal(t, 1, int(failed[`chargeingest_key_reloads_total{result="failure"}`]))
	require.Zero(t, failed["chargeingest_key_last_reload_successful"])

	e.ObservePrune(4, nil)
	e.ObserveKeyReload(nil)
	m := e.scrape(t)
	require.Equal(t, 7, int(m["chargeingest_events_pruned_total"]))
	require.Equal(t, 1, int(m[`chargeingest_prunes_total{result="success"}`]))
	require.InDelta(t, time.Now().Unix(), m[lastPrune], 60)
	require.Equal(t, 1, int(m[`chargeingest_key_reloads_total{result="success"}`]))
	require.Equal(t, 1, int(m["chargeingest_key_last_reload_successful"]))
}

func TestDiscardedBody(t *testing.T) {
	e := newEndpoint(t)
	e.ObserveRequest(t.Context(), chargeingest.RequestStats{Status: 401, Discarded: true})
	require.Equal(t, 1, int(e.scrape(t)["chargeingest_requests_discarded_total"]))
}

type blockedStore struct{ *memstore.Store }

func (blockedStore) Stats() chargeingest.StoreStats {
	return chargeingest.StoreStats{WALBlockedSince: time.Now().Add(-time.Hour)}
}

func TestBlockedWAL(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	require.NoError(t, m.RegisterStore(blockedStore{memstore.New()}))
	require.InDelta(t, 3600, endpoint{registry: registry}.scrape(t)["chargeingest_store_wal_blocked_seconds"], 60)
}

type emptyStatsStore struct{ *memstore.Store }

func (emptyStatsStore) Stats() chargeingest.StoreStats { return chargeingest.StoreStats{} }

func TestNoCheckpointYet(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	require.NoError(t, m.RegisterStore(emptyStatsStore{memstore.New()}))
	metrics := endpoint{registry: registry}.scrape(t)
	require.NotContains(t, metrics, "chargeingest_store_last_checkpoint_timestamp_seconds")
	require.NotContains(t, metrics, "chargeingest_store_free_bytes")
}

type fullStore struct{ *memstore.Store }

func (fullStore) Stats() chargeingest.StoreStats {
	return chargeingest.StoreStats{FreeBytes: new(int64)}
}

// Without the metric, the alert would end when the disk is full.
func TestNoFreeBytes(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := prommetrics.New(registry)
	require.NoError(t, err)
	require.NoError(t, m.RegisterStore(fullStore{memstore.New()}))
	require.Contains(t, endpoint{registry: registry}.scrape(t), "chargeingest_store_free_bytes")
}

func TestSeveralEndpoints(t *testing.T) {
	registry := prometheus.NewRegistry()
	first, err := prommetrics.New(registry)
	require.NoError(t, err)
	_, err = prommetrics.New(registry)
	require.ErrorAs(t, err, new(prometheus.AlreadyRegisteredError))
	require.NoError(t, first.RegisterStore(emptyStatsStore{memstore.New()}))
	require.Error(t, first.RegisterStore(emptyStatsStore{memstore.New()}))

	registry = prometheus.NewRegistry()
	for _, name := range []string{"a", "b"} {
		m, err := prommetrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"endpoint": name}, registry))
		require.NoError(t, err)
		require.NoError(t, m.RegisterStore(emptyStatsStore{memstore.New()}))
		m.ObserveRequest(context.Background(), chargeingest.RequestStats{Route: chargeingest.RouteSingle, Status: 201, Events: 1})
	}
	require.Equal(t, 2, sum(withPrefix(endpoint{registry: registry}.scrape(t), "chargeingest_events_accepted_total")))
}
