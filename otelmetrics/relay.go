package otelmetrics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/chargeingest/internal/relaystatus"
	"example.com/chargeingest/relay"
)

// RegisterRelays creates the instruments of a store's relays. stats has Relay.Stats by
// destination.
func (m *Metrics) RegisterRelays(ledger relay.Ledger, stats map[string]func() relay.Stats) error {
	r := relayInstruments{status: relaystatus.NewReader(ledger), stats: maps.Clone(stats)}
	var errs [11]error
	gauge := func(i int, name, unit, description string) (g metric.Int64ObservableGauge) {
		g, errs[i] = m.meter.Int64ObservableGauge("chargeingest.relay."+name, metric.WithUnit(unit), metric.WithDescription(description))
		return g
	}
	r.events, errs[0] = m.meter.Int64ObservableCounter("chargeingest.relay.events",
		metric.WithUnit("{event}"), metric.WithDescription("Events delivered, found at the destination, parked or dead."))
	r.attempts, errs[1] = m.meter.Int64ObservableCounter("chargeingest.relay.attempts",
		metric.WithUnit("{event}"), metric.WithDescription("Events sent, by outcome."))
	r.lagAge, errs[2] = m.meter.Float64ObservableGauge("chargeingest.relay.lag.age",
		metric.WithUnit("s"), metric.WithDescription("Age of the oldest event that has not been sent yet, or 0."))
	r.statusAge, errs[3] = m.meter.Float64ObservableGauge("chargeingest.relay.status.age",
		metric.WithUnit("s"), metric.WithDescription("Time since the last reading of lag, parked and dead events."))
	r.up = gauge(4, "up", "1", "Whether the destination accepts requests for every platform.")
	r.down = gauge(5, "platforms.down", "{platform}", "Platforms for which the destination is down.")
	r.lagEvents = gauge(6, "lag.events", "{event}", "Stored events that have not been sent yet.")
	r.parked = gauge(7, "parked", "{event}", "Events that are sent again later.")
	r.dead = gauge(8, "dead", "{event}", "Dead letters that are neither delivered nor skipped.")
	r.unknown = gauge(9, "platforms.lag_unknown", "{platform}", "Platforms whose last delivered event the store does not have.")
	if errors.Join(errs[:]...) == nil {
		_, errs[10] = m.meter.RegisterCallback(r.observe, r.events, r.attempts, r.lagAge, r.statusAge, r.up, r.down, r.lagEvents, r.unknown, r.parked, r.dead)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("otelmetrics: %w", err)
	}
	return nil
}

type relayInstruments struct {
	status *relaystatus.Reader
	stats  map[string]func() relay.Stats

	events, attempts                           metric.Int64ObservableCounter
	lagAge, statusAge                          metric.Float64ObservableGauge
	up, down, lagEvents, unknown, parked, dead metric.Int64ObservableGauge
}

func (r *relayInstruments) observe(_ context.Context, o metric.Observer) error {
	destinations, at := r.status.Read()
	for name, stats := range r.stats {
		s := stats()
		destination := attribute.String("destination", name)
		byName := metric.WithAttributeSet(attribute.NewSet(destination))
		for result, n := range relaystatus.Results(s) {
			o.ObserveInt64(r.events, int64(n), metric.WithAttributes(destination, attribute.String("result", result)))
		}
		for outcome, n := range relaystatus.Attempts(s) {
			o.ObserveInt64(r.attempts, int64(n), metric.WithAttributes(destination, attribute.String("outcome", outcome)))
		}
		up := int64(1)
		if len(s.Down) > 0 {
			up = 0
		}
		o.ObserveInt64(r.up, up, byName)
		o.ObserveInt64(r.down, int64(len(s.Down)), byName)
		if at.IsZero() {
			continue
		}
		d := destinations[name]
		o.ObserveInt64(r.lagEvents, d.Lag, byName)
		o.ObserveFloat64(r.lagAge, d.Age(time.Now()).Seconds(), byName)
		o.ObserveInt64(r.unknown, d.Unknown, byName)
		o.ObserveInt64(r.parked, d.Parked, byName)
		o.ObserveInt64(r.dead, d.Dead, byName)
	}
	if !at.IsZero() {
		o.ObserveFloat64(r.statusAge, time.Since(at).Seconds())
	}
	return nil
}
