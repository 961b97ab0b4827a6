// Package prommetrics is the metrics of a charge event endpoint and its store,
// for Prometheus.
//
//	m, err := prommetrics.New(registry)
//	store, err := sqlitestore.OpenWith(ctx, path, sqlitestore.Options{Observer: m.ObserveCommit})
//	err = m.RegisterStore(store)
//	h, err := chargeingest.New(chargeingest.Config{Store: store, Authorizer: keys, Observer: m.ObserveRequest})
//
// # The metrics
//
// Of requests, with the route (charge-data, charge-datas, charge-data/{id},
// charge-data list, or none where a path leads nowhere or the method is another):
//
//	chargeingest_requests_total{route,code,error}     code is the HTTP status, error the code of the contract or empty
//	chargeingest_request_duration_seconds{route}      histogram, until the answer was written
//	chargeingest_request_body_bytes_total{route}      read and decompressed
//	chargeingest_events_accepted_total                answered as stored for the first time
//	chargeingest_events_replayed_total                answered as they had been stored before
//
// Of the store's transactions that stored something, where it tells of them:
//
//	chargeingest_commits_total{result}                result is success or failure
//	chargeingest_commit_duration_seconds              histogram, until it was durable
//	chargeingest_commit_events                        histogram of the events stored at once
//
// Of the store, asked at each scrape, where it is watched:
//
//	chargeingest_store_queued_requests                that wait for a transaction
//	chargeingest_store_queued_events                  that these have
//	chargeingest_store_wal_bytes                      of the write-ahead log
//	chargeingest_store_last_checkpoint_timestamp_seconds
//	chargeingest_store_wal_blocked_seconds            how long a reader has kept the log growing
//
// An event whose commit was answered as unknown, or that came in by
// Handler.Ingest, is in commit_events and not in events_accepted_total.
//
// No label holds what a client can choose, so that their number is bounded; no
// label holds a tenant.
package prommetrics

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest"
)

const namespace = "chargeingest"

// Metrics are the metrics of one endpoint. Safe for concurrent use.
type Metrics struct {
	registerer prometheus.Registerer

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	accepted prometheus.Counter
	replayed prometheus.Counter

	commits        *prometheus.CounterVec
	commitDuration prometheus.Histogram
	commitEvents   prometheus.Histogram
}

// New registers the metrics with r. Where a process has more than one endpoint
// each has a registerer of its own, made by prometheus.WrapRegistererWith a
// label. The error is that of r, which most likely has them already.
func New(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	}
	// A lone event takes about a sync of the disk, a listing at most seconds.
	seconds := []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

	accepted := counter("events_accepted_total", "Events that were stored for the first time.")
	replayed := counter("events_replayed_total", "Events that were answered as they had been stored before.")
	commitDuration := histogram("commit_duration_seconds", "Time from the beginning of a transaction until it was durable.", seconds)
	commitEvents := histogram("commit_events", "Events that a transaction stored.", prometheus.ExponentialBuckets(1, 2, 12))
	m := &Metrics{
		registerer: r,
		requests:   counter("requests_total", "Requests, by endpoint, HTTP status and the error code of the contract.", "route", "code", "error"),
		duration:   histogram("request_duration_seconds", "Time from the beginning of a request until its answer was written.", seconds, "route"),
		bytes:      counter("request_body_bytes_total", "Bytes of requests' bodies that were read, decompressed.", "route"),
		accepted:   accepted.WithLabelValues(),
		replayed:   replayed.WithLabelValues(),

		commits:        counter("commits_total", "Transactions that stored events, or failed to.", "result"),
		commitDuration: commitDuration.WithLabelValues().(prometheus.Histogram),
		commitEvents:   commitEvents.WithLabelValues().(prometheus.Histogram),
	}
	for _, result := range []string{success, failure} {
		m.commits.WithLabelValues(result) // there from the start, so that a rate sees the first failure
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.bytes, accepted, replayed, m.commits, commitDuration, commitEvents,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("prommetrics: %w", err)
		}
	}
	return m, nil
}

// ObserveRequest takes a request in: a chargeingest.Config has it as its Observer.
func (m *Metrics) ObserveRequest(_ context.Context, o chargeingest.RequestStats) {
	route := string(o.Route)
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(o.Status), string(o.Code)).Inc()
	m.duration.WithLabelValues(route).Observe(o.Duration.Seconds())
	m.bytes.WithLabelValues(route).Add(float64(o.Bytes))
	if o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch {
		m.accepted.Add(float64(o.Events - o.Replayed))
		m.replayed.Add(float64(o.Replayed))
	}
}

// The results of a transaction.
const success, failure = "success", "failure"

// ObserveCommit takes a transaction of the store in: the options of sqlitestore and of
// pgstore have it as their Observer.
func (m *Metrics) ObserveCommit(c chargeingest.CommitStats) {
	if c.Err != nil {
		m.commits.WithLabelValues(failure).Inc()
		return
	}
	m.commits.WithLabelValues(success).Inc()
	m.commitDuration.Observe(c.Duration.Seconds())
	m.commitEvents.Observe(float64(c.Events))
}

// RegisterStore registers what s says of itself. The error is that of the
// registerer, which most likely watches another store already.
func (m *Metrics) RegisterStore(s chargeingest.StatsReporter) error {
	if err := m.registerer.Register(storeCollector{s}); err != nil {
		return fmt.Errorf("prommetrics: %w", err)
	}
	return nil
}
