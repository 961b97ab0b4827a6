package chargeingest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

type response struct {
	status int
	header http.Header
	text   string
	body   map[string]any // numbers are json.Number
}

func responseOf(t *testing.T, h http.Handler, r *http.Request) response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return checkedResponse(t, r, w)
}

func responsesOf(t *testing.T, h http.Handler, n int, request func(i int) *http.Request) []response {
	t.Helper()
	requests, recorders := make([]*http.Request, n), make([]*httptest.ResponseRecorder, n)
	var sending sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		requests[i], recorders[i] = request(i), httptest.NewRecorder()
		sending.Go(func() {
			<-start
			h.ServeHTTP(recorders[i], requests[i])
		})
	}
	close(start)
	sending.Wait()
	responses := make([]response, n)
	for i := range n {
		responses[i] = checkedResponse(t, requests[i], recorders[i])
	}
	return responses
}

func checkedResponse(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) response {
	t.Helper()
	resp := response{status: w.Code, header: w.Header(), text: w.Body.String()}
	require.NotEmpty(t, resp.header.Get("X-Request-Id"))
	require.Equal(t, "application/json", resp.header.Get("Content-Type"))
	requireNoSecret(t, resp.text)
	if r.Method != http.MethodHead {
		dec := json.NewDecoder(strings.NewReader(resp.text))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&resp.body), resp.text)
	}
	return resp
}

func requireNoSecret(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{fullSecret, ingestSecret, viewSecret, otherSecret, wrongSecret} {
		require.NotContains(t, text, secret)
	}
}

func (resp response) requireStored(t *testing.T) map[string]any {
	t.Helper()
	require.Equal(t, http.StatusCreated, resp.status, resp.text)
	require.Empty(t, resp.header.Values("Idempotent-Replayed"))
	return resp.body
}

func (resp response) requireReplayOf(t *testing.T, first response) {
	t.Helper()
	require.Equal(t, http.StatusCreated, resp.status, resp.text)
	require.Equal(t, "true", resp.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.text, resp.text)
}

func (resp response) events(t *testing.T) []map[string]any {
	t.Helper()
	require.Equal(t, http.StatusCreated, resp.status, resp.text)
	var events []map[string]any
	for _, e := range resp.body["charge_datas"].([]any) {
		events = append(events, e.(map[string]any))
	}
	return events
}

type violation struct{ code, field string }

func (resp response) violations(t *testing.T) []violation {
	t.Helper()
	list, _ := resp.body["errors"].([]any)
	found := make([]violation, len(list))
	for i, entry := range list {
		e := entry.(map[string]any)
		require.Len(t, e, 3, resp.text)
		require.NotEmpty(t, e["message"])
		found[i] = violation{e["code"].(string), e["field"].(string)}
	}
	return found
}

func (resp response) requireError(t *testing.T, status int, code, field string) {
	t.Helper()
	require.Equal(t, status, resp.status, resp.text)
	require.Equal(t, code, resp.body["code"], resp.text)
	if field == "" {
		require.NotContains(t, resp.body, "field", resp.text)
	} else {
		require.Equal(t, field, resp.body["field"], resp.text)
	}
	kind := "INVALID_REQUEST"
	if status >= 500 {
		kind = "API_ERROR"
	}
	require.Equal(t, kind, resp.body["type"])
	require.NotEmpty(t, resp.body["message"])
	require.LessOrEqual(t, len(resp.text), 16<<10)
	for name := range resp.body {
		require.Contains(t, []string{"type", "code", "message", "field", "resource_id", "resource_type", "errors"}, name)
	}
	if _, ok := resp.body["resource_id"]; ok {
		require.Equal(t, "CHARGE_DATA", resp.body["resource_type"])
	} else {
		require.NotContains(t, resp.body, "resource_type")
	}
	if _, ok := resp.body["errors"]; ok {
		violations := resp.violations(t)
		require.NotEmpty(t, violations)
		require.Equal(t, violation{code, field}, violations[0], "the first violation is the error itself")
		require.Equal(t, resp.body["message"], valueAt(resp.body["errors"], "0.message"))
		require.LessOrEqual(t, len(violations), 100)
	}
}

func (resp response) requireRetryable(t *testing.T, safe bool) {
	t.Helper()
	if safe {
		resp.requireError(t, http.StatusServiceUnavailable, "INTERNAL_ERROR", "")
		require.Equal(t, "true", resp.header.Get("Idempotency-Retryable"))
		require.Regexp(t, `^[1-9][0-9]*$`, resp.header.Get("Retry-After"))
		return
	}
	resp.requireError(t, http.StatusInternalServerError, "INTERNAL_ERROR", "")
	require.Equal(t, "false", resp.header.Get("Idempotency-Retryable"))
	require.Empty(t, resp.header.Values("Retry-After"))
}

func valueAt(v any, path string) any {
	for part := range strings.SplitSeq(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[part]
		case []any:
			var i int
			if err := json.Unmarshal([]byte(part), &i); err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}
