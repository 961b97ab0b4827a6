package prommetrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest"
)

type storeCollector struct{ store chargeingest.StatsReporter }

type gauge struct {
	desc  *prometheus.Desc
	value func(chargeingest.StoreStats) (v float64, known bool)
}

func gauges() []gauge {
	newGauge := func(name, help string, value func(chargeingest.StoreStats) (float64, bool)) gauge {
		return gauge{prometheus.NewDesc(prometheus.BuildFQName(namespace, "store", name), help, nil, nil), value}
	}
	return []gauge{
		newGauge("queued_requests", "Requests waiting for a transaction.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.QueuedRequests), true }),
		newGauge("queued_events", "Events of the requests waiting for a transaction.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.QueuedEvents), true }),
		newGauge("database_bytes", "Size of the database without the write-ahead log.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.DatabaseBytes), s.DatabaseBytes > 0 }),
		newGauge("free_bytes", "Free space on the file system of the database.",
			func(s chargeingest.StoreStats) (v float64, known bool) {
				if s.FreeBytes != nil {
					v, known = float64(*s.FreeBytes), true
				}
				return v, known
			}),
		newGauge("wal_bytes", "Size of the write-ahead log file, which is reused and does not shrink.",
			func(s chargeingest.StoreStats) (float64, bool) { return float64(s.WALBytes), true }),
		newGauge("last_checkpoint_timestamp_seconds", "Unix time of the last complete checkpoint of the write-ahead log.",
			func(s chargeingest.StoreStats) (float64, bool) {
				return float64(s.LastCheckpoint.UnixMilli()) / 1000, !s.LastCheckpoint.IsZero()
			}),
		newGauge("wal_blocked_seconds", "How long a reader has kept the write-ahead log growing, or 0.",
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
		if v, known := g.value(stats); known {
			to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, v)
		}
	}
}
