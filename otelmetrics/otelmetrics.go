// Package otelmetrics is the metrics of a charge event endpoint and its store,
// for OpenTelemetry, and what a span of a request should say of it.
//
//	m, err := otelmetrics.New(otel.GetMeterProvider())
//	store, err := sqlitestore.OpenWith(ctx, path, sqlitestore.Options{Observer: m.ObserveCommit})
//	err = m.RegisterStore(store)
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys, Observer: m.ObserveRequest})
//	handler := otelhttp.NewHandler(h, "charge ingest") // makes the spans
//
// The instruments, where route is the endpoint, or none where a path leads
// nowhere or the method is another:
//
//	chargeingest.requests            {request}  by route, http.response.status_code and, for errors, error.type: the code of the contract
//	chargeingest.request.duration    s          by route
//	chargeingest.request.body        By         by route; read and decompressed
//	chargeingest.events              {event}    by replayed: false where they were stored for the first time
//	chargeingest.commit.duration     s          by error.type, which is failure where the transaction failed
//	chargeingest.commit.events       {event}    stored by a transaction
//	chargeingest.store.queue.requests, .queue.events, .wal.size (By), .wal.blocked (s), .checkpoint.age (s)
//
// A span that records gets chargeingest.route, .platform, .events, .replayed
// and .error, of which the platform is a tenant: no metric has it.
package otelmetrics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"example.com/chargeingest"
)

const scope = "example.com/chargeingest/otelmetrics"

// Metrics are the instruments of one endpoint. Safe for concurrent use.
type Metrics struct {
	meter metric.Meter

	requests       metric.Int64Counter
	duration       metric.Float64Histogram
	body           metric.Int64Counter
	events         metric.Int64Counter
	commitDuration metric.Float64Histogram
	commitEvents   metric.Int64Histogram
}

// New makes the instruments on a meter of p. The error is that of the provider.
func New(p metric.MeterProvider) (*Metrics, error) {
	m := &Metrics{meter: p.Meter(scope)}
	seconds := metric.WithExplicitBucketBoundaries(.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	var errs [6]error
	m.requests, errs[0] = m.meter.Int64Counter("chargeingest.requests",
		metric.WithUnit("{request}"), metric.WithDescription("Requests, by endpoint, HTTP status and the error code of the contract."))
	m.duration, errs[1] = m.meter.Float64Histogram("chargeingest.request.duration", seconds,
		metric.WithUnit("s"), metric.WithDescription("Time from the beginning of a request until its answer was written."))
	m.body, errs[2] = m.meter.Int64Counter("chargeingest.request.body",
		metric.WithUnit("By"), metric.WithDescription("Bytes of requests' bodies that were read, decompressed."))
	m.events, errs[3] = m.meter.Int64Counter("chargeingest.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events that were answered, stored for the first time or before."))
	m.commitDuration, errs[4] = m.meter.Float64Histogram("chargeingest.commit.duration", seconds,
		metric.WithUnit("s"), metric.WithDescription("Time from the beginning of a transaction until it was durable, or failed."))
	m.commitEvents, errs[5] = m.meter.Int64Histogram("chargeingest.commit.events",
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
		metric.WithUnit("{event}"), metric.WithDescription("Events that a transaction stored."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	return m, nil
}

// ObserveRequest takes a request in: a chargeingest.Config has it as its Observer.
func (m *Metrics) ObserveRequest(ctx context.Context, o chargeingest.RequestStats) {
	route := attribute.String("route", "none")
	if o.Route != "" {
		route = attribute.String("route", string(o.Route))
	}
	byRoute := metric.WithAttributeSet(attribute.NewSet(route))
	labels := []attribute.KeyValue{route, attribute.Int("http.response.status_code", o.Status)}
	if o.Code != "" {
		labels = append(labels, attribute.String("error.type", string(o.Code)))
	}
	m.requests.Add(ctx, 1, metric.WithAttributes(labels...))
	m.duration.Record(ctx, o.Duration.Seconds(), byRoute)
	m.body.Add(ctx, o.Bytes, byRoute)
	if o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch {
		m.events.Add(ctx, int64(o.Events-o.Replayed), metric.WithAttributes(attribute.Bool("replayed", false)))
		m.events.Add(ctx, int64(o.Replayed), metric.WithAttributes(attribute.Bool("replayed", true)))
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(
			attribute.String("chargeingest.route", route.Value.AsString()),
			attribute.String("chargeingest.platform", o.Platform),
			attribute.Int("chargeingest.events", o.Events),
			attribute.Int("chargeingest.replayed", o.Replayed),
			attribute.String("chargeingest.error", string(o.Code)),
		)
	}
}

// ObserveCommit takes a transaction of the store in: the options of sqlitestore and of
// pgstore have it as their Observer.
func (m *Metrics) ObserveCommit(c chargeingest.CommitStats) {
	ctx := context.Background() // a transaction belongs to many requests
	if c.Err != nil {
		m.commitDuration.Record(ctx, c.Duration.Seconds(), metric.WithAttributes(attribute.String("error.type", "failure")))
		return
	}
	m.commitDuration.Record(ctx, c.Duration.Seconds())
	m.commitEvents.Record(ctx, int64(c.Events))
}

// RegisterStore makes the instruments that s is asked for at each collection. The
// error is that of the meter provider.
func (m *Metrics) RegisterStore(s chargeingest.StatsReporter) error {
	requests, err1 := m.meter.Int64ObservableGauge("chargeingest.store.queue.requests",
		metric.WithUnit("{request}"), metric.WithDescription("Requests that wait for a transaction."))
	events, err2 := m.meter.Int64ObservableGauge("chargeingest.store.queue.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events of the requests that wait for a transaction."))
	log, err3 := m.meter.Int64ObservableGauge("chargeingest.store.wal.size",
		metric.WithUnit("By"), metric.WithDescription("Size of the write-ahead log's file, which is written over and does not shrink."))
	age, err4 := m.meter.Float64ObservableGauge("chargeingest.store.checkpoint.age",
		metric.WithUnit("s"), metric.WithDescription("Time since all of the log was last moved to its place."))
	blocked, err5 := m.meter.Float64ObservableGauge("chargeingest.store.wal.blocked",
		metric.WithUnit("s"), metric.WithDescription("How long a transaction that reads has kept the write-ahead log growing, 0 if none does."))
	err := errors.Join(err1, err2, err3, err4, err5)
	if err == nil {
		_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			now := s.Stats()
			o.ObserveInt64(requests, int64(now.QueuedRequests))
			o.ObserveInt64(events, int64(now.QueuedEvents))
			o.ObserveInt64(log, now.WALBytes)
			if !now.LastCheckpoint.IsZero() {
				o.ObserveFloat64(age, time.Since(now.LastCheckpoint).Seconds())
			}
			if now.WALBlockedSince.IsZero() {
				o.ObserveFloat64(blocked, 0)
			} else {
				o.ObserveFloat64(blocked, time.Since(now.WALBlockedSince).Seconds())
			}
			return nil
		}, requests, events, log, age, blocked)
	}
	if err != nil {
		return fmt.Errorf("otelmetrics: %w", err)
	}
	return nil
}
