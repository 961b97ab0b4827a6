package main

import "github.com/prometheus/client_golang/prometheus"

func newReloadMetrics(registry prometheus.Registerer) func(name string, err error) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "chargeingest_reloads_total",
		Help: "Attempts to reload the keys or the certificate after SIGHUP or a change of their files.",
	}, []string{"file", "result"})
	failing := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "chargeingest_reload_failing",
		Help: "1 if the last attempt to reload failed, so that the previous content stays in use.",
	}, []string{"file"})
	registry.MustRegister(total, failing)
	for _, name := range []string{"keys", "certificate"} {
		total.WithLabelValues(name, "success")
		total.WithLabelValues(name, "failure")
		failing.WithLabelValues(name)
	}
	return func(name string, err error) {
		if err != nil {
			total.WithLabelValues(name, "failure").Inc()
			failing.WithLabelValues(name).Set(1)
			return
		}
		total.WithLabelValues(name, "success").Inc()
		failing.WithLabelValues(name).Set(0)
	}
}
