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

// recorder is a test that keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	logs     []string
	errors   []string
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// end is the end of the test.
func (r *recorder) end() {
	for f := r.popCleanup(); f != nil; f = r.popCleanup() {
		f()
	}
}

func (r *recorder) popCleanup() func() {
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

func (r *recorder) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.logs, "\n")
}

// failure is all that the test failed for.
func (r *recorder) failure() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.errors, "\n")
}

// client sends requests to a server.
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

// answer is what a client got.
type answer struct {
	*http.Response
	text string
}

// do sends a request. The error is that of the request, or of reading the
// answer.
func (c client) do(ctx context.Context, method, path string, body []byte, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("X-API-KEY", c.key)
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res, string(text)}, err
}

const eventPath = "/v1/ingest/charge-data"

// charge sends a sample event.
func (c client) charge(t *testing.T, reference string, headers ...string) (answer, error) {
	t.Helper()
	return c.send(t, chargetest.Sample(reference), headers...)
}

func (c client) send(t *testing.T, ev chargeingest.ChargeEvent, headers ...string) (answer, error) {
	t.Helper()
	body, err := json.Marshal(ev)
	if err != nil {
		return answer{}, err
	}
	return c.do(t.Context(), http.MethodPost, eventPath, body, headers...)
}

// requireStatus says that a request was answered so.
func requireStatus(t *testing.T, want int) func(answer, error) answer {
	return func(a answer, err error) answer {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, want, a.StatusCode, a.text)
		return a
	}
}
