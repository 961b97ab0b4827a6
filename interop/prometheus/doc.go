// Package prometheus tests contrib with a Prometheus that scrapes the example server. Use the
// script run.
package prometheus
