// Package prommetrics provides Prometheus metrics of a charge event endpoint and its
// store.
//
// Requests; route is charge-data, charge-datas, charge-data/{id}, charge-data list, or
// none for another path or method:
//
//	chargeingest_requests_total{route,code,error}       code is the HTTP status; error is the error code or empty
//	chargeingest_request_duration_seconds{route}
//	chargeingest_request_body_bytes_total{route}
//	chargeingest_request_bodies_discarded_total         with an unread rest of the body
//	chargeingest_events_accepted_total
//	chargeingest_events_replayed_total
//
// Transactions that store events:
//
//	chargeingest_commits_total{result}                  success or failure
//	chargeingest_commit_duration_seconds
//	chargeingest_commit_events
//
// The store, read at each scrape:
//
//	chargeingest_store_queued_requests
//	chargeingest_store_queued_events
//	chargeingest_store_database_bytes
//	chargeingest_store_disk_free_bytes
//	chargeingest_store_wal_bytes
//	chargeingest_store_last_checkpoint_timestamp_seconds
//	chargeingest_store_wal_blocked_seconds
//
// Relays, by destination; the ledger is read at most every five seconds:
//
//	chargeingest_relay_events_total{destination,result}     delivered, repeated, parked or dead
//	chargeingest_relay_attempts_total{destination,outcome}
//	chargeingest_relay_up{destination}                      0 if it is down for a platform
//	chargeingest_relay_platforms_down{destination}
//	chargeingest_relay_lag_events{destination}
//	chargeingest_relay_lag_seconds{destination}             age of the oldest
//	chargeingest_relay_platforms_lag_unknown{destination}
//	chargeingest_relay_parked_events{destination}
//	chargeingest_relay_dead_events{destination}
//	chargeingest_relay_status_timestamp_seconds
//
// Pruning and reloads of API keys, if the host application reports them:
//
//	chargeingest_events_pruned_total
//	chargeingest_prune_runs_total{result}
//	chargeingest_prune_last_success_timestamp_seconds
//	chargeingest_api_keys_reloads_total{result}
//	chargeingest_api_keys_last_reload_successful        0 or 1
//
// events_accepted_total does not count events with an unknown outcome or from
// Handler.Ingest; commit_events does. Labels never contain a platform, or values that a
// client can choose.
package prommetrics

import (
	"context"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest"
)

const namespace = "chargeingest"

// Metrics holds the metrics of one endpoint. It is safe for concurrent use.
type Metrics struct {
	registerer prometheus.Registerer

	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	bytes     *prometheus.CounterVec
	discarded prometheus.Counter
	accepted  prometheus.Counter
	replayed  prometheus.Counter

	commits        *prometheus.CounterVec
	commitDuration prometheus.Histogram
	commitEvents   prometheus.Histogram

	pruned       prometheus.Counter
	prunes       *prometheus.CounterVec
	lastPrune    *prometheus.GaugeVec // no sample before the first success
	keyReloads   *prometheus.CounterVec
	keysReloaded prometheus.Gauge
}

// New registers the metrics with r, and returns its error. For several endpoints in one
// process, wrap r with prometheus.WrapRegistererWith.
func New(r prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	}
	seconds := []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

	accepted := counter("events_accepted_total", "Events stored for the first time.")
	replayed := counter("events_replayed_total", "Events that had already been stored.")
	discarded := counter("request_bodies_discarded_total", "Requests whose response did not need the rest of the body, which was discarded.")
	commitDuration := histogram("commit_duration_seconds", "Time from the start of a transaction until it was durable.", seconds)
	commitEvents := histogram("commit_events", "Events stored per transaction.", prometheus.ExponentialBuckets(1, 2, 12))
	pruned := counter("events_pruned_total", "Events deleted because of their age.")
	lastPrune := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "prune_last_success_timestamp_seconds", Help: "Unix time of the last successful run that deletes old events.",
	}, nil)
	keysReloaded := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "api_keys_last_reload_successful", Help: "Whether the last reload of the API keys succeeded.",
	})
	m := &Metrics{
		registerer: r,
		requests:   counter("requests_total", "Requests by route, HTTP status and error code.", "route", "code", "error"),
		duration:   histogram("request_duration_seconds", "Time from the start of a request until its response was written.", seconds, "route"),
		bytes:      counter("request_body_bytes_total", "Bytes read from request bodies, decompressed.", "route"),
		discarded:  discarded.WithLabelValues(),
		accepted:   accepted.WithLabelValues(),
		replayed:   replayed.WithLabelValues(),

		commits:        counter("commits_total", "Transactions with events, by result.", "result"),
		commitDuration: commitDuration.WithLabelValues().(prometheus.Histogram),
		commitEvents:   commitEvents.WithLabelValues().(prometheus.Histogram),

		pruned:       pruned.WithLabelValues(),
		prunes:       counter("prune_runs_total", "Runs that delete old events, by result.", "result"),
		lastPrune:    lastPrune,
		keyReloads:   counter("api_keys_reloads_total", "Reloads of the API keys, by result.", "result"),
		keysReloaded: keysReloaded,
	}
	// increase() must see the first failure.
	for _, result := range []string{success, failure} {
		for _, c := range []*prometheus.CounterVec{m.commits, m.prunes, m.keyReloads} {
			c.WithLabelValues(result)
		}
	}
	for _, route := range []chargeingest.Route{chargeingest.RouteSingle, chargeingest.RouteBatch} {
		m.requests.WithLabelValues(string(route), "500", string(chargeingest.CodeInternalError))
	}
	keysReloaded.Set(1)
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.bytes, discarded, accepted, replayed, m.commits, commitDuration, commitEvents,
		pruned, m.prunes, lastPrune, m.keyReloads, keysReloaded,
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("prommetrics: %w", err)
		}
	}
	return m, nil
}

// ObserveRequest is the Observer of a chargeingest.Config.
func (m *Metrics) ObserveRequest(_ context.Context, o chargeingest.RequestStats) {
	route := string(o.Route)
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(o.Status), string(o.Code)).Inc()
	m.duration.WithLabelValues(route).Observe(o.Duration.Seconds())
	m.bytes.WithLabelValues(route).Add(float64(o.Bytes))
	if o.BodyDiscarded {
		m.discarded.Inc()
	}
	if o.Route == chargeingest.RouteSingle || o.Route == chargeingest.RouteBatch {
		m.accepted.Add(float64(o.Events - o.Replayed))
		m.replayed.Add(float64(o.Replayed))
	}
}

const success, failure = "success", "failure"

// ObserveCommit is the Observer of sqlitestore or pgstore.
func (m *Metrics) ObserveCommit(c chargeingest.CommitStats) {
	m.commits.WithLabelValues(resultOf(c.Err)).Inc()
	if c.Err != nil {
		return
	}
	m.commitDuration.Observe(c.Duration.Seconds())
	m.commitEvents.Observe(float64(c.Events))
}

// ObservePrune records the results of sqlitestore's or pgstore's Prune.
func (m *Metrics) ObservePrune(deleted int64, err error) {
	m.pruned.Add(float64(deleted))
	m.prunes.WithLabelValues(resultOf(err)).Inc()
	if err == nil {
		m.lastPrune.WithLabelValues().SetToCurrentTime()
	}
}

// ObserveKeyReload records the result of a reload of the API keys.
func (m *Metrics) ObserveKeyReload(err error) {
	m.keyReloads.WithLabelValues(resultOf(err)).Inc()
	if err == nil {
		m.keysReloaded.Set(1)
	} else {
		m.keysReloaded.Set(0)
	}
}

func resultOf(err error) string {
	if err != nil {
		return failure
	}
	return success
}

// RegisterStore registers the metrics of one store, read from s at each scrape.
func (m *Metrics) RegisterStore(s chargeingest.StatsReporter) error {
	if err := m.registerer.Register(storeCollector{s}); err != nil {
		return fmt.Errorf("prommetrics: %w", err)
	}
	return nil
}
