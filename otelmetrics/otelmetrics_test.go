package otelmetrics_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"example.com/chargeingest"
	"example.com/chargeingest/otelmetrics"
	"example.com/chargeingest/sqlitestore"
)

type endpoint struct {
	*chargeingest.Handler
	reader *sdk.ManualReader
}

func newEndpoint(t *testing.T) endpoint {
	t.Helper()
	reader := sdk.NewManualReader()
	m, err := otelmetrics.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	store, err := sqlitestore.OpenWith(t.Context(), filepath.Join(t.TempDir(), "charges.db"), sqlitestore.Options{Observer: m.ObserveCommit})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, m.RegisterStore(store))
	h, err := chargeingest.New(chargeingest.Config{
		Store: store, Observer: m.ObserveRequest, Logger: slog.New(slog.DiscardHandler),
		Authorizer: chargeingest.AuthorizerFunc(func(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
			return chargeingest.Principal{Platforms: []string{"acme"}}, nil
		}),
	})
	require.NoError(t, err)
	return endpoint{h, reader}
}

func (e endpoint) send(ctx context.Context, method, path, body string) int {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Code
}

func event(reference string) string {
	return `{"product_item_id":"a","pricing_id":"b","pricing_item_id":"c","pricing_item_config_id":"d","reference":"` + reference + `"}`
}

func collect(t *testing.T, reader *sdk.ManualReader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	found := make(map[string]float64)
	for _, s := range data.ScopeMetrics {
		for _, m := range s.Metrics {
			require.NotEmpty(t, m.Unit, m.Name)
			require.NotEmpty(t, m.Description, m.Name)
			name := func(suffix string, set attribute.Set) string {
				return strings.TrimSpace(m.Name + suffix + " " + set.Encoded(attribute.DefaultEncoder()))
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					found[name("", p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					found[name("", p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					found[name("", p.Attributes)] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					found[name(".count", p.Attributes)], found[name(".sum", p.Attributes)] = float64(p.Count), p.Sum
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					found[name(".count", p.Attributes)], found[name(".sum", p.Attributes)] = float64(p.Count), float64(p.Sum)
				}
			default:
				require.Fail(t, "unexpected instrument", m.Name)
			}
		}
	}
	return found
}

func TestMixedRequests(t *testing.T) {
	e := newEndpoint(t)
	body := 0
	for i := range 50 {
		for _, r := range []struct {
			method, path, body string
			status             int
		}{
			{"POST", "/v1/ingest/charge-data", event(fmt.Sprint(i)), 201},
			{"POST", "/v1/ingest/charge-data", event(fmt.Sprint(i)), 201},
			{"POST", "/v1/ingest/charge-datas", `{"charge_datas":[` + event(fmt.Sprint("b", i)) + "," + event(fmt.Sprint(i)) + `]}`, 201},
			{"POST", "/v1/ingest/charge-data", `{}`, 400},
			{"GET", "/v1/ingest/charge-data?limit=1", "", 200},
			{"GET", "/nowhere", "", 404},
		} {
			require.Equal(t, r.status, e.send(t.Context(), r.method, r.path, r.body))
			body += len(r.body)
		}
	}
	m := collect(t, e.reader)
	for name, want := range map[string]int{
		"chargeingest.requests http.response.status_code=201,route=charge-data":                          100,
		"chargeingest.requests http.response.status_code=201,route=charge-datas":                         50,
		"chargeingest.requests error.type=MISSING_FIELD,http.response.status_code=400,route=charge-data": 50,
		"chargeingest.requests http.response.status_code=200,route=charge-data list":                     50,
		"chargeingest.requests error.type=RESOURCE_NOT_FOUND,http.response.status_code=404,route=none":   50,
		"chargeingest.request.duration.count route=charge-data":                                          150,
		"chargeingest.events replayed=false":                                                             100,
		"chargeingest.events replayed=true":                                                              100,
		"chargeingest.commit.events.sum":                                                                 100,
		"chargeingest.commit.events.count":                                                               100,
		"chargeingest.commit.duration.count":                                                             100,
		"chargeingest.store.queue.requests":                                                              0,
		"chargeingest.store.queue.events":                                                                0,
	} {
		require.Contains(t, m, name)
		require.Equal(t, want, int(m[name]), name)
	}
	require.Equal(t, body, int(m["chargeingest.request.body route=charge-data"]+m["chargeingest.request.body route=charge-datas"]))
	require.Positive(t, m["chargeingest.store.wal.size"])
	require.Positive(t, m["chargeingest.store.database.size"])
	require.Positive(t, m["chargeingest.store.disk.free"])
	require.InDelta(t, 0, m["chargeingest.store.checkpoint.age"], 60)
	require.Contains(t, m, "chargeingest.store.wal.blocked")
	require.Zero(t, m["chargeingest.store.wal.blocked"])
}

type blockedStore struct{}

func (blockedStore) Stats() chargeingest.StoreStats {
	return chargeingest.StoreStats{WALBlockedSince: time.Now().Add(-time.Hour), FreeBytes: new(int64)}
}

func TestBlockedWALAndFullDisk(t *testing.T) {
	reader := sdk.NewManualReader()
	m, err := otelmetrics.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	require.NoError(t, m.RegisterStore(blockedStore{}))
	metrics := collect(t, reader)
	require.InDelta(t, 3600, metrics["chargeingest.store.wal.blocked"], 60)
	require.Contains(t, metrics, "chargeingest.store.disk.free", "0 if the disk is full")
}

func TestSpanAttributes(t *testing.T) {
	e := newEndpoint(t)
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	for _, body := range []string{event("a"), `{}`} {
		ctx, span := tracer.Start(t.Context(), "request")
		e.send(ctx, http.MethodPost, "/v1/ingest/charge-data", body)
		span.End()
	}
	got := spans.GetSpans()
	require.Len(t, got, 2)
	require.ElementsMatch(t, []attribute.KeyValue{
		attribute.String("chargeingest.route", "charge-data"), attribute.String("chargeingest.platform", "acme"),
		attribute.Int("chargeingest.events", 1), attribute.Int("chargeingest.replayed", 0), attribute.String("chargeingest.error", ""),
	}, got[0].Attributes)
	require.Contains(t, got[1].Attributes, attribute.String("chargeingest.error", "MISSING_FIELD"))
}

func TestFailedCommit(t *testing.T) {
	reader := sdk.NewManualReader()
	m, err := otelmetrics.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	m.ObserveCommit(chargeingest.CommitStats{Requests: 1, Duration: time.Second, Err: errors.New("disk")})
	got := collect(t, reader)
	require.Equal(t, 1, int(got["chargeingest.commit.duration.count error.type=failure"]))
	require.NotContains(t, got, "chargeingest.commit.events.count")
}

func TestOperations(t *testing.T) {
	reader := sdk.NewManualReader()
	m, err := otelmetrics.New(sdk.NewMeterProvider(sdk.WithReader(reader)))
	require.NoError(t, err)
	m.ObservePrune(3, nil)
	m.ObservePrune(2, errors.New("disk"))
	m.ObserveKeyReload(nil)
	m.ObserveKeyReload(errors.New("not JSON"))
	m.ObserveRequest(t.Context(), chargeingest.RequestStats{Status: 401, Discarded: true})
	got := collect(t, reader)
	require.Equal(t, 5, int(got["chargeingest.events.pruned"]))
	for _, name := range []string{
		"chargeingest.prunes", "chargeingest.prunes error.type=failure", "chargeingest.key.reloads",
		"chargeingest.key.reloads error.type=failure", "chargeingest.requests.discarded",
	} {
		require.Equal(t, 1, int(got[name]), name)
	}
}
