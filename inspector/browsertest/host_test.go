package browsertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
	"example.com/chargeingest/memstore"
)

const (
	adaKey   = "key-of-ada-0123456789" // platforms default and acme
	bobKey   = "key-of-bob-0123456789" // platform acme
	jobKey   = "key-of-job-0123456789" // may only ingest
	prefix   = "/tools/charges/"
	endpoint = "/billing/v1/ingest/charge-data"
)

var testKeys = []chargeingest.Key{
	{Secret: adaKey, Subject: "ada", Platforms: []string{"default", "acme"}, Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView}},
	{Secret: bobKey, Subject: "bob", Platforms: []string{"acme"}, Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView}},
	{Secret: jobKey, Subject: "job", Platforms: []string{"default"}, Permissions: []chargeingest.Permission{chargeingest.PermissionIngest}},
}

type host struct {
	t      *testing.T
	keys   *chargeingest.Keys
	store  *memstore.Store
	server *http.Server
	base   string
	page   string
}

func startHost(t *testing.T, change ...func(*inspector.Config)) *host {
	t.Helper()
	return startHostWith(t, memstore.New(), change...)
}

func startHostWith(t *testing.T, store *memstore.Store, change ...func(*inspector.Config)) *host {
	t.Helper()
	keys, err := chargeingest.NewKeys(testKeys...)
	require.NoError(t, err)
	h := &host{t: t, keys: keys, store: store}
	h.serve("127.0.0.1:0", change...)
	t.Cleanup(func() { _ = h.server.Close() })
	return h
}

func (h *host) serve(address string, change ...func(*inspector.Config)) {
	h.t.Helper()
	cfg := inspector.Config{Reader: h.store, Authorizer: h.keys}
	for _, c := range change {
		c(&cfg)
	}
	ins, err := inspector.New(cfg)
	require.NoError(h.t, err)
	handler, err := chargeingest.New(chargeingest.Config{Store: h.store, Authorizer: h.keys, Now: cfg.Now, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(h.t, err)
	mux := http.NewServeMux()
	mux.Handle("/billing/", http.StripPrefix("/billing", ins.Middleware(handler)))
	mux.Handle(prefix, http.StripPrefix(strings.TrimSuffix(prefix, "/"), ins))
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	listener, err := net.Listen("tcp", address)
	require.NoError(h.t, err)
	h.base = "http://" + listener.Addr().String()
	h.page = h.base + prefix
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: timeout}
	go func(s *http.Server) { _ = s.Serve(listener) }(h.server)
}

func (h *host) link(key string) string { return h.page + "#key=" + key }

func (h *host) send(method, path, body string, header ...string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, h.base+path, strings.NewReader(body))
	require.NoError(h.t, err)
	r.Header.Set("X-Api-Key", adaKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(h.t, err)
	defer resp.Body.Close()
	var response bytes.Buffer
	_, err = io.Copy(&response, resp.Body)
	require.NoError(h.t, err)
	return resp.StatusCode, response.String()
}

func (h *host) ingest(status int, body string, header ...string) string {
	h.t.Helper()
	got, response := h.send("POST", endpoint, body, header...)
	require.Equal(h.t, status, got, response)
	return response
}

func event(reference, customer string, more ...string) string {
	if len(more) == 0 {
		more = []string{`"value":{"number":"752.41"},"timestamp":"2026-09-01T09:00:29+09:00"`}
	}
	return fmt.Sprintf(`{"product_item_id":"proi_V7EoCpciIAHibhKIxqQI","pricing_id":"pric_as4YcnSsQnxgTWPpjKXS",`+
		`"pricing_item_id":"prii_SYroX7TSzQ0pk7LUoxPL","pricing_item_config_id":"pico_DhqWU4RYZAGYPdMEePqp",`+
		`"customer_id":%s,"reference":%s,%s}`, quoteJSON(customer), quoteJSON(reference), strings.Join(more, ","))
}

func amount(quantity, currency string) string {
	return fmt.Sprintf(`"value":{"amount":{"quantity":%q,"currency":%q}}`, quantity, currency)
}

func batch(events ...string) string { return `{"charge_datas":[` + strings.Join(events, ",") + `]}` }

func anyone(*http.Request, chargeingest.Permission) (chargeingest.Principal, error) {
	return chargeingest.Principal{Subject: "host user", Platforms: []string{"default"}}, nil
}

func (h *host) shutdown() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	start := time.Now()
	require.NoError(h.t, h.server.Shutdown(ctx))
	h.t.Logf("shutdown took %v", time.Since(start))
}
