package prommetrics

import (
	"fmt"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/chargeingest/internal/relaystatus"
	"example.com/chargeingest/relay"
)

// RegisterRelays registers the metrics of a store's relays. stats has Relay.Stats by
// destination.
func (m *Metrics) RegisterRelays(ledger relay.Ledger, stats map[string]func() relay.Stats) error {
	if err := m.registerer.Register(relayCollector{relaystatus.NewReader(ledger), maps.Clone(stats)}); err != nil {
		return fmt.Errorf("prommetrics: %w", err)
	}
	return nil
}

type relayCollector struct {
	status *relaystatus.Reader
	stats  map[string]func() relay.Stats
}

func relayDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "relay", name), help, labels, nil)
}

var (
	relayEvents    = relayDesc("events_total", "Events delivered, found at the destination, parked or dead.", "destination", "result")
	relayAttempts  = relayDesc("attempts_total", "Events sent, by outcome.", "destination", "outcome")
	relayUp        = relayDesc("up", "Whether the destination accepts requests for every platform.", "destination")
	relayDown      = relayDesc("platforms_down", "Platforms for which the destination is down.", "destination")
	relayLagEvents = relayDesc("lag_events", "Stored events that have not been sent yet.", "destination")
	relayLag       = relayDesc("lag_seconds", "Age of the oldest event that has not been sent yet, or 0.", "destination")
	relayUnknown   = relayDesc("platforms_lag_unknown", "Platforms whose last delivered event the store does not have.", "destination")
	relayParked    = relayDesc("parked_events", "Events that are sent again later.", "destination")
	relayDead      = relayDesc("dead_events", "Dead letters that are neither delivered nor skipped.", "destination")
	relayStatusAt  = relayDesc("status_timestamp_seconds", "Unix time of the last reading of lag, parked and dead events.")
)

// Describe implements [prometheus.Collector].
func (relayCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		relayEvents, relayAttempts, relayUp, relayDown, relayLagEvents, relayLag, relayUnknown, relayParked, relayDead, relayStatusAt,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c relayCollector) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	destinations, at := c.status.Read()
	for name, stats := range c.stats {
		s := stats()
		for result, n := range relaystatus.Results(s) {
			send(relayEvents, prometheus.CounterValue, float64(n), name, result)
		}
		for outcome, n := range relaystatus.Attempts(s) {
			send(relayAttempts, prometheus.CounterValue, float64(n), name, outcome)
		}
		up := 1.0
		if len(s.Down) > 0 {
			up = 0
		}
		send(relayUp, prometheus.GaugeValue, up, name)
		send(relayDown, prometheus.GaugeValue, float64(len(s.Down)), name)
		if at.IsZero() {
			continue
		}
		d := destinations[name]
		send(relayLagEvents, prometheus.GaugeValue, float64(d.Lag), name)
		send(relayLag, prometheus.GaugeValue, d.Age(time.Now()).Seconds(), name)
		send(relayUnknown, prometheus.GaugeValue, float64(d.Unknown), name)
		send(relayParked, prometheus.GaugeValue, float64(d.Parked), name)
		send(relayDead, prometheus.GaugeValue, float64(d.Dead), name)
	}
	if !at.IsZero() {
		send(relayStatusAt, prometheus.GaugeValue, float64(at.UnixMilli())/1000)
	}
}
