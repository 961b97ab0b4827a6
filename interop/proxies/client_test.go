//go:build proxies && linux

package proxies_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/chargeclient"
)

type response struct {
	status int
	header http.Header
	body   string
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func send(client *http.Client, method, url, body string, headers ...string) (response, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("X-Api-Key", ingestKey)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(text)}, err
}

func post(t *testing.T, address, event string, headers ...string) response {
	t.Helper()
	r, err := send(newClient(t), http.MethodPost, "http://"+address+eventPath, event, headers...)
	require.NoError(t, err)
	return r
}

func newChargeClient(t *testing.T, address string, set func(*chargeclient.Config)) *chargeclient.Client {
	t.Helper()
	cfg := chargeclient.Config{URL: "http://" + address, APIKey: ingestKey, HTTPClient: newClient(t)}
	set(&cfg)
	c, err := chargeclient.New(cfg)
	require.NoError(t, err)
	return c
}

func events(t *testing.T, address string) (all []chargeclient.Event) {
	t.Helper()
	client := newChargeClient(t, address, func(*chargeclient.Config) {})
	for q := (chargeclient.Query{Ascending: true, Limit: 1000}); ; {
		page, err := client.List(t.Context(), q)
		require.NoError(t, err)
		all = append(all, page.Events...)
		if q.After = page.Next; q.After == "" {
			return all
		}
	}
}
