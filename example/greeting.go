package main

import (
	"net"
	"strings"
)

// exampleEvent has a fixed reference, so that the curl command replays it.
const exampleEvent = `{"product_item_id":"proi_example","pricing_id":"pric_example","pricing_item_id":"prii_example",` +
	`"pricing_item_config_id":"pico_example","customer_reference":"customer-1","reference":"curl-example-1",` +
	`"value":{"amount":{"quantity":"12.50","currency":"EUR"}}}`

func listeningURL(cfg *serverConfig, addr net.Addr) string {
	scheme := "http"
	if cfg.certificate != nil {
		scheme = "https"
	}
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// greeting shows a generated API key, but not a configured one.
func greeting(cfg *serverConfig, url string) string {
	var b strings.Builder
	if cfg.sandbox.enabled {
		b.WriteString(sandboxWarning)
	}
	b.WriteString("listening on " + url + "\n")
	if page := inspectorURL(cfg, url); page != "" {
		b.WriteString("Inspector: " + page + "\n")
	}
	for _, name := range cfg.relay.names() {
		b.WriteString("Events are relayed to " + name + "\n")
	}
	var header, export string
	switch {
	case cfg.generatedKey != "":
		header = "'X-API-KEY: " + cfg.generatedKey + "'"
		b.WriteString("API key (generated at each start): " + cfg.generatedKey + "\n")
	case cfg.keys == nil:
		header = `"Authorization: Bearer $CHARGEINGEST_TOKEN"`
		export = "export CHARGEINGEST_TOKEN and "
	default:
		header = `"X-API-KEY: $CHARGEINGEST_API_KEY"`
		export = "export CHARGEINGEST_API_KEY and "
	}
	curl := func(purpose, path, body string) {
		b.WriteString(purpose + ", " + export + "run:\ncurl -i " + curlTarget(cfg, url) + path + " -H " + header +
			" -H 'Content-Type: application/json' -d '" + body + "'\n")
	}
	if cfg.sandbox.enabled {
		greetSandbox(cfg, curl)
	}
	curl("To send an event", "/v1/ingest/charge-data", exampleEvent)
	return b.String()
}

// curlTarget trusts the certificate, or skips verification if it is for another host.
func curlTarget(cfg *serverConfig, url string) string {
	options := ""
	if path, ok := strings.CutPrefix(url, "unix:"); ok {
		options = "--unix-socket " + shellQuote(path) + " "
		url = "http://localhost"
		if cfg.certificate != nil {
			url = "https://localhost"
		}
	}
	if cfg.certificate == nil {
		return options + url
	}
	host := strings.TrimPrefix(url, "https://")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if cfg.certificate.current.Load().Leaf.VerifyHostname(host) != nil {
		return options + "-k " + url
	}
	return options + "--cacert " + shellQuote(cfg.certificate.certFile) + " " + url
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
