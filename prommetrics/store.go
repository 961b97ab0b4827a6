package prommetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest"
)

// storeCollector asks a store at each scrape.
type storeCollector struct{ store chargeingest.StatsReporter }

// gauge is something that a store is asked for. A value that it has not is left
// out.
type gauge struct {
	desc  *prometheus.Desc
	value func(chargeingest.StoreStats) (v float64, ok bool)
}

func gauges() []gauge {
	of := func(name, help string, value func(chargeingest.StoreStats) (float64, bool)) gauge {
		return gauge{prometheus.NewDesc(prometheus.BuildFQName(namespace, "store", name), help, nil, nil), value}
	}
	return []gauge{
		of("queued_requests", "Requests that wait for a transaction.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.QueuedRequests), true }),
		of("queued_events", "Events of the requests that wait for a transaction.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.QueuedEvents), true }),
		of("wal_bytes", "Size of the write-ahead log's file, which is written over and does not shrink.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.WALBytes), true }),
		of("last_checkpoint_timestamp_seconds", "When all of the log was last moved to its place, since the Unix epoch.",
			func(s chargeingest.StoreStats) (float64, bool) {
				return float64(s.LastCheckpoint.UnixMilli()) / 1000, !s.LastCheckpoint.IsZero()
			}),
		of("wal_blocked_seconds", "How long a transaction that reads has kept the write-ahead log growing, 0 if none does.",
			func(s chargeingest.StoreStats) (float64, bool) {
				if s.WALBlockedSince.IsZero() {
					return 0, true
				}
				return time.Since(s.WALBlockedSince).Seconds(), true
			}),
	}
}

// Describe implements [prometheus.Collector].
func (c storeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, g := range gauges() {
		to <- g.desc
	}
}

// Collect implements [prometheus.Collector].
func (c storeCollector) Collect(to chan<- prometheus.Metric) {
	stats := c.store.Stats()
	for _, g := range gauges() {
		if v, ok := g.value(stats); ok {
			to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v)
		}
	}
}
