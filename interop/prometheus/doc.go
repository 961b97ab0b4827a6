// Package prometheus tests contrib with a Prometheus that scrapes the example server. The
// script run starts the tests.
package prometheus
