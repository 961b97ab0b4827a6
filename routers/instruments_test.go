package routers_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/handlers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

type instruments struct {
	spans     *tracetest.InMemoryExporter
	meters    *sdkmetric.ManualReader
	registry  *prometheus.Registry
	accessLog *bytes.Buffer

	wrap func(http.Handler) http.Handler
}

func newInstruments() *instruments {
	i := &instruments{
		spans: tracetest.NewInMemoryExporter(), meters: sdkmetric.NewManualReader(),
		registry: prometheus.NewRegistry(), accessLog: new(bytes.Buffer),
	}
	labels := []string{"code", "method"}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, labels)
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration"}, labels)
	received := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "received"}, labels)
	sent := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sent"}, labels)
	i.registry.MustRegister(requests, duration, received, sent)

	traced := otelhttp.NewMiddleware("",
		otelhttp.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(i.spans))),
		otelhttp.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(i.meters))),
		otelhttp.WithPropagators(propagation.TraceContext{}))
	i.wrap = func(h http.Handler) http.Handler {
		h = handlers.CombinedLoggingHandler(i.accessLog, h)
		h = promhttp.InstrumentHandlerResponseSize(sent, h)
		h = promhttp.InstrumentHandlerRequestSize(received, h)
		h = promhttp.InstrumentHandlerDuration(duration, h)
		h = promhttp.InstrumentHandlerCounter(requests, h)
		return traced(h)
	}
	return i
}

func (i *instruments) takeSpan(t *testing.T) tracetest.SpanStub {
	t.Helper()
	spans := i.spans.GetSpans()
	i.spans.Reset()
	require.Len(t, spans, 1)
	return spans[0]
}

func (i *instruments) takeLog(t *testing.T) string {
	t.Helper()
	line := i.accessLog.String()
	i.accessLog.Reset()
	require.Equal(t, 1, strings.Count(line, "\n"), line)
	return line
}

type sample struct{ requests, durations, received, sent int }

func (i *instruments) samples(t *testing.T) (byCodeAndMethod map[string]sample, sent int) {
	t.Helper()
	families, err := i.registry.Gather()
	require.NoError(t, err)
	byCodeAndMethod = make(map[string]sample)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := m.GetLabel()[0].GetValue() + " " + m.GetLabel()[1].GetValue()
			s, n := byCodeAndMethod[key], int(m.GetHistogram().GetSampleCount())
			switch f.GetName() {
			case "requests":
				s.requests = int(m.GetCounter().GetValue())
			case "duration":
				s.durations = n
			case "received":
				s.received = n
			case "sent":
				s.sent = n
				sent += int(m.GetHistogram().GetSampleSum())
			}
			byCodeAndMethod[key] = s
		}
	}
	return byCodeAndMethod, sent
}

func (i *instruments) durations(t *testing.T) map[measured]int {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, i.meters.Collect(context.Background(), &data))
	found := make(map[measured]int)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "http.server.request.duration" {
				continue
			}
			for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
				found[measured{
					valueOf(p.Attributes.ToSlice(), "http.route").AsString(),
					valueOf(p.Attributes.ToSlice(), "http.request.method").AsString(),
					int(valueOf(p.Attributes.ToSlice(), "http.response.status_code").AsInt64()),
				}] += int(p.Count)
			}
		}
	}
	return found
}

type measured struct {
	route, method string
	status        int
}

func valueOf(attributes []attribute.KeyValue, key attribute.Key) attribute.Value {
	for _, a := range attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return attribute.Value{}
}
