package chargetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargetest"
)

type fakeTB struct {
	mu       sync.Mutex
	logs     []string
	errors   []string
	cleanups []func()
}

func (r *fakeTB) Helper() {}

func (r *fakeTB) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *fakeTB) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *fakeTB) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *fakeTB) end() {
	for f := r.popCleanup(); f != nil; f = r.popCleanup() {
		f()
	}
}

func (r *fakeTB) popCleanup() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.cleanups) - 1
	if last < 0 {
		return nil
	}
	f := r.cleanups[last]
	r.cleanups = r.cleanups[:last]
	return f
}

func (r *fakeTB) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.logs, "\n")
}

func (r *fakeTB) failure() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.errors, "\n")
}

type client struct {
	http *http.Client
	base string
	key  string
}

func overSocket(srv *chargetest.Server) client {
	return client{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, srv.URL(), srv.APIKey()}
}

func inMemory(srv *chargetest.Server) client {
	return client{srv.Client(), "https://billing.example", srv.APIKey()}
}

type response struct {
	*http.Response
	text string
}

func (c client) do(ctx context.Context, method, path string, body []byte, headers ...string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("X-API-KEY", c.key)
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return response{res, string(text)}, err
}

const eventPath = "/v1/ingest/charge-data"

func (c client) charge(t *testing.T, reference string, headers ...string) (response, error) {
	t.Helper()
	return c.send(t, chargetest.Sample(reference), headers...)
}

func (c client) send(t *testing.T, ev chargeingest.ChargeEvent, headers ...string) (response, error) {
	t.Helper()
	body, err := json.Marshal(ev)
	if err != nil {
		return response{}, err
	}
	return c.do(t.Context(), http.MethodPost, eventPath, body, headers...)
}

func requireStatus(t *testing.T, want int) func(response, error) response {
	return func(res response, err error) response {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, res.StatusCode, res.text)
		return res
	}
}
