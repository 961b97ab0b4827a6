package main

import (
	"net"
	"strings"
)

// exampleEvent is sent by the curl line. Its reference is always the same, so
// that pasting the line again is answered with the event that is there already.
const exampleEvent = `{"product_item_id":"proi_example","pricing_id":"pric_example","pricing_item_id":"prii_example",` +
	`"pricing_item_config_id":"pico_example","customer_reference":"customer-1","reference":"curl-example-1",` +
	`"value":{"amount":{"quantity":"12.50","currency":"EUR"}}}`

// listeningURL is the address to reach the server at, which listens on addr.
func listeningURL(cfg *serverConfig, addr net.Addr) string {
	scheme := "http"
	if cfg.certificate != nil {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host = "localhost" // every address: the one that is sure to be reachable from here
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// greeting is what the server prints once it listens: where, the key if it made
// one, and a curl line to paste. A key that was given is not printed; the line
// then takes it out of the environment, or a token where there are no keys.
func greeting(cfg *serverConfig, url string) string {
	var b strings.Builder
	b.WriteString("listening on " + url + "\n")
	header := "'X-API-KEY: " + cfg.madeKey + "'"
	switch {
	case cfg.madeKey != "":
		b.WriteString("API key, new at each start: " + cfg.madeKey + "\n")
		b.WriteString("send an event:\n")
	case cfg.keys == nil:
		header = `"Authorization: Bearer $CHARGEINGEST_TOKEN"`
		b.WriteString("send an event, with a token in the exported variable CHARGEINGEST_TOKEN:\n")
	default:
		header = `"X-API-KEY: $CHARGEINGEST_API_KEY"`
		b.WriteString("send an event, with an API key in the exported variable CHARGEINGEST_API_KEY:\n")
	}
	b.WriteString("curl -i " + curlTLS(cfg, url) + url + "/v1/ingest/charge-data -H " + header +
		" -H 'Content-Type: application/json' -d '" + exampleEvent + "'\n")
	return b.String()
}

// curlTLS has curl trust the server's certificate. One that names another host
// than that of url, which is an address most of the time, can only be passed
// over.
func curlTLS(cfg *serverConfig, url string) string {
	if cfg.certificate == nil {
		return ""
	}
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if cfg.certificate.Leaf.VerifyHostname(host) != nil {
		return "-k "
	}
	return "--cacert '" + strings.ReplaceAll(cfg.certFile, "'", `'\''`) + "' "
}
