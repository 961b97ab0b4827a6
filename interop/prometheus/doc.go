// Package prometheus tests the alert rules and the Grafana dashboard in contrib with a real
// Prometheus that scrapes the example server. prometheus and promtool must be on the PATH:
//
//	go test -tags prometheus ./interop/prometheus
//
// The flag -server tests another server binary.
package prometheus
