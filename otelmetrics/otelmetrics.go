// Package otelmetrics provides OpenTelemetry metrics of a charge event endpoint and its
// store, and sets attributes on the span of a request.
//
//	m, err := otelmetrics.New(otel.GetMeterProvider())
//	store, err := sqlitestore.OpenWith(ctx, path, sqlitestore.Options{Observer: m.ObserveCommit})
//	err = m.RegisterStore(store)
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys, Observer: m.ObserveRequest})
//	handler := otelhttp.NewHandler(h, "charge ingest") // creates the spans
//
// The metrics:
//
//	chargeingest.requests                  {request}  by route, http.response.status_code, error.type
//	chargeingest.request.duration          s          by route
//	chargeingest.request.body              By         by route, decompressed
//	chargeingest.request.bodies.discarded  {request}  with an unread rest of the body
//	chargeingest.events                    {event}    by replayed
//	chargeingest.commit.duration           s          by error.type: failure, or absent
//	chargeingest.commit.events             {event}
//	chargeingest.events.pruned             {event}    if the host application reports it
//	chargeingest.prune.runs                {run}      by error.type: failure, or absent
//	chargeingest.api_keys.reloads          {reload}   by error.type: failure, or absent
//	chargeingest.store.queue.requests, .queue.events, .database.size (By), .disk.free (By), .wal.size (By),
//	.wal.blocked (s), .checkpoint.age (s)
//	chargeingest.relay.events              {event}    by destination and result: delivered, repeated, parked or dead
//	chargeingest.relay.attempts            {event}    by destination and outcome
//	chargeingest.relay.up                  1          by destination, 0 if it is down for a platform
//	chargeingest.relay.platforms.down ({platform}), .platforms.lag_unknown ({platform}), .lag.events ({event}),
//	.lag.age (s), .parked ({event}), .dead ({event})  by destination
//	chargeingest.relay.status.age          s          since the ledger was read
//
// Spans get chargeingest.route, .platform, .events, .replayed and .error.
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

// Metrics holds the instruments of one endpoint. It is safe for concurrent use.
type Metrics struct {
	meter metric.Meter

	requests       metric.Int64Counter
	duration       metric.Float64Histogram
	body           metric.Int64Counter
	events         metric.Int64Counter
	commitDuration metric.Float64Histogram
	commitEvents   metric.Int64Histogram
	discarded      metric.Int64Counter
	pruned         metric.Int64Counter
	prunes         metric.Int64Counter
	keyReloads     metric.Int64Counter
}

// New creates the instruments on a meter of p.
func New(p metric.MeterProvider) (*Metrics, error) {
	m := &Metrics{meter: p.Meter(scope)}
	seconds := metric.WithExplicitBucketBoundaries(.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30)
	var errs [10]error
	m.requests, errs[0] = m.meter.Int64Counter("chargeingest.requests",
		metric.WithUnit("{request}"), metric.WithDescription("Requests by route, HTTP status and error code."))
	m.duration, errs[1] = m.meter.Float64Histogram("chargeingest.request.duration", seconds,
		metric.WithUnit("s"), metric.WithDescription("Time from the start of a request until its response was written."))
	m.body, errs[2] = m.meter.Int64Counter("chargeingest.request.body",
		metric.WithUnit("By"), metric.WithDescription("Bytes read from request bodies, decompressed."))
	m.events, errs[3] = m.meter.Int64Counter("chargeingest.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events accepted, newly stored or already stored."))
	m.commitDuration, errs[4] = m.meter.Float64Histogram("chargeingest.commit.duration", seconds,
		metric.WithUnit("s"), metric.WithDescription("Time from the start of a transaction until it was durable or failed."))
	m.commitEvents, errs[5] = m.meter.Int64Histogram("chargeingest.commit.events",
		metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
		metric.WithUnit("{event}"), metric.WithDescription("Events stored per transaction."))
	m.discarded, errs[6] = m.meter.Int64Counter("chargeingest.request.bodies.discarded",
		metric.WithUnit("{request}"), metric.WithDescription("Requests whose response did not need the rest of the body, which was discarded."))
	m.pruned, errs[7] = m.meter.Int64Counter("chargeingest.events.pruned",
		metric.WithUnit("{event}"), metric.WithDescription("Events deleted because of their age."))
	m.prunes, errs[8] = m.meter.Int64Counter("chargeingest.prune.runs",
		metric.WithUnit("{run}"), metric.WithDescription("Runs that delete old events."))
	m.keyReloads, errs[9] = m.meter.Int64Counter("chargeingest.api_keys.reloads",
		metric.WithUnit("{reload}"), metric.WithDescription("Reloads of the API keys."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	return m, nil
}

// ObserveRequest is the Observer of a chargeingest.Config.
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
	if o.BodyDiscarded {
		m.discarded.Add(ctx, 1)
	}
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

// ObserveCommit is the Observer of sqlitestore or pgstore.
func (m *Metrics) ObserveCommit(c chargeingest.CommitStats) {
	ctx := context.Background()
	m.commitDuration.Record(ctx, c.Duration.Seconds(), resultOf(c.Err))
	if c.Err != nil {
		return
	}
	m.commitEvents.Record(ctx, int64(c.Events))
}

// ObservePrune records the results of sqlitestore's or pgstore's Prune.
func (m *Metrics) ObservePrune(deleted int64, err error) {
	m.pruned.Add(context.Background(), deleted)
	m.prunes.Add(context.Background(), 1, resultOf(err))
}

// ObserveKeyReload records the result of a reload of the API keys.
func (m *Metrics) ObserveKeyReload(err error) {
	m.keyReloads.Add(context.Background(), 1, resultOf(err))
}

func resultOf(err error) metric.MeasurementOption {
	if err == nil {
		return metric.WithAttributes()
	}
	return metric.WithAttributes(attribute.String("error.type", "failure"))
}

// RegisterStore creates the instruments of one store, read from s at each collection.
func (m *Metrics) RegisterStore(s chargeingest.StatsReporter) error {
	requests, err1 := m.meter.Int64ObservableGauge("chargeingest.store.queue.requests",
		metric.WithUnit("{request}"), metric.WithDescription("Requests waiting for a transaction."))
	events, err2 := m.meter.Int64ObservableGauge("chargeingest.store.queue.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events of the requests waiting for a transaction."))
	walSize, err3 := m.meter.Int64ObservableGauge("chargeingest.store.wal.size",
		metric.WithUnit("By"), metric.WithDescription("Size of the write-ahead log file, which is reused and does not shrink."))
	age, err4 := m.meter.Float64ObservableGauge("chargeingest.store.checkpoint.age",
		metric.WithUnit("s"), metric.WithDescription("Time since the last complete checkpoint of the write-ahead log."))
	blocked, err5 := m.meter.Float64ObservableGauge("chargeingest.store.wal.blocked",
		metric.WithUnit("s"), metric.WithDescription("How long a reader has kept the write-ahead log growing, or 0."))
	databaseSize, err6 := m.meter.Int64ObservableGauge("chargeingest.store.database.size",
		metric.WithUnit("By"), metric.WithDescription("Size of the database without the write-ahead log."))
	free, err7 := m.meter.Int64ObservableGauge("chargeingest.store.disk.free",
		metric.WithUnit("By"), metric.WithDescription("Free space on the file system of the database."))
	err := errors.Join(err1, err2, err3, err4, err5, err6, err7)
	if err == nil {
		_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
			stats := s.Stats()
			o.ObserveInt64(requests, int64(stats.QueuedRequests))
			o.ObserveInt64(events, int64(stats.QueuedEvents))
			o.ObserveInt64(walSize, stats.WALBytes)
			if stats.DatabaseBytes > 0 {
				o.ObserveInt64(databaseSize, stats.DatabaseBytes)
			}
			if stats.DiskFreeBytes != nil {
				o.ObserveInt64(free, *stats.DiskFreeBytes)
			}
			if !stats.LastCheckpoint.IsZero() {
				o.ObserveFloat64(age, time.Since(stats.LastCheckpoint).Seconds())
			}
			if stats.WALBlockedSince.IsZero() {
				o.ObserveFloat64(blocked, 0)
			} else {
				o.ObserveFloat64(blocked, time.Since(stats.WALBlockedSince).Seconds())
			}
			return nil
		}, requests, events, databaseSize, free, walSize, age, blocked)
	}
	if err != nil {
		return fmt.Errorf("otelmetrics: %w", err)
	}
	return nil
}
