package chargeingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func logLines(t *testing.T, level slog.Level, r *http.Request, settings ...func(*chargeingest.Config)) (lines []map[string]any, text string) {
	t.Helper()
	var log bytes.Buffer
	settings = append(settings, func(c *chargeingest.Config) {
		now := receivedAt
		c.Now = func() time.Time { now = now.Add(time.Second); return now }
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))
	})
	f := newFixture(t, settings...)
	responseOf(t, f.handler, r)
	text = log.String()
	for line := range strings.Lines(text) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object))
		delete(object, "time")
		lines = append(lines, object)
	}
	return lines, text
}

func TestLogLine(t *testing.T) {
	storeError := func(err error) func(*chargeingest.Config) {
		return withStore(storeFunc(func(context.Context, chargeingest.Batch) (chargeingest.AppendResult, error) {
			return chargeingest.AppendResult{}, err
		}))
	}
	for _, c := range []struct {
		name     string
		request  *http.Request
		settings []func(*chargeingest.Config)
		want     string
	}{
		{"a success, at Debug", request("POST", eventsPath, strings.NewReader(batch(event(`"reference":"a"`), event(`"reference":"a"`)))), nil,
			`{"level":"DEBUG","client":"192.0.2.1:1234","subject":"test","platform":"pf_a","route":"charge-datas","method":"POST","status":201,"events":2,"replayed":1}`},
		{"a rejection, at Info", request("POST", eventPath, strings.NewReader(event(`"value":{"number":"confidential"}`))), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"test","platform":"pf_a","route":"charge-data","method":"POST","status":400,"events":0,"replayed":0,"code":"INVALID_FIELD","field":"value.number"}`},
		{"a caller without a credential", request("GET", eventPath, nil, "-X-API-KEY"), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"","platform":"","route":"charge-data list","method":"GET","status":401,"events":0,"replayed":0,"code":"UNAUTHORISED","error":"no credential"}`},
		{"a caller without the permission, with its subject", request("POST", eventPath, strings.NewReader(event()), "X-API-KEY: "+viewSecret), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"test","platform":"","route":"charge-data","method":"POST","status":403,"events":0,"replayed":0,"code":"USER_NOT_ALLOWED","error":"permission denied"}`},
		{"a platform of another caller", request("POST", eventPath, strings.NewReader(event()), "x-platform-id: pf_c"), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"test","platform":"","route":"charge-data","method":"POST","status":403,"events":0,"replayed":0,"code":"USER_NOT_ALLOWED","error":"platform not allowed"}`},
		{"an invalid credential, with a known subject", request("GET", eventPath, nil), []func(*chargeingest.Config){withAuthorizer(authorizeAda(chargeingest.ErrInvalidCredential))},
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"ada","platform":"","route":"charge-data list","method":"GET","status":401,"events":0,"replayed":0,"code":"UNAUTHORISED","error":"invalid credential"}`},
		{"an unknown path", request("POST", "/billing"+eventPath+"?key=confidential", strings.NewReader(event())), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"","platform":"","route":"","method":"POST","status":404,"events":0,"replayed":0,"path":"/billing/v1/ingest/charge-data","code":"RESOURCE_NOT_FOUND"}`},
		{"an unsupported version", request("POST", "/v2/ingest/charge-data", strings.NewReader(event())), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"","platform":"","route":"","method":"POST","status":400,"events":0,"replayed":0,"path":"/v2/ingest/charge-data","code":"UNSUPPORTED_VERSION"}`},
		{"a wrong method", request("PUT", eventPath+"?confidential", strings.NewReader(event())), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"","platform":"","route":"","method":"PUT","status":405,"events":0,"replayed":0,"path":"/v1/ingest/charge-data","code":"INVALID_OPERATION"}`},
		{"an unknown event", request("GET", eventPath+"/a%0Ab%20%C3%A9", nil), nil,
			`{"level":"INFO","client":"192.0.2.1:1234","subject":"test","platform":"pf_a","route":"charge-data/{id}","method":"GET","status":404,"events":0,"replayed":0,"path":"/v1/ingest/charge-data/a%0Ab%20%C3%A9","code":"RESOURCE_NOT_FOUND"}`},
		{"a failure, at Error", request("POST", eventPath, strings.NewReader(event())), []func(*chargeingest.Config){storeError(errors.New("torn"))},
			`{"level":"ERROR","client":"192.0.2.1:1234","subject":"test","platform":"pf_a","route":"charge-data","method":"POST","status":500,"events":0,"replayed":0,"code":"INTERNAL_ERROR","error": "outcome unknown: torn"}`},
		{"an overload, at Error", request("POST", eventPath, strings.NewReader(event())), []func(*chargeingest.Config){storeError(chargeingest.ErrOverloaded)},
			`{"level":"ERROR","client":"192.0.2.1:1234","subject":"test","platform":"pf_a","route":"charge-data","method":"POST","status":503,"events":0,"replayed":0,"code":"INTERNAL_ERROR","error":"store overloaded: nothing was stored"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.request.Header.Set("X-Request-Id", "mine")
			lines, text := logLines(t, slog.LevelDebug, c.request, c.settings...)
			require.Len(t, lines, 1, text)
			require.Positive(t, lines[0]["duration"])
			delete(lines[0], "duration")
			require.Equal(t, "charge ingest", lines[0]["msg"])
			delete(lines[0], "msg")
			require.Equal(t, "mine", lines[0]["request_id"])
			delete(lines[0], "request_id")
			got, err := json.Marshal(lines[0])
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(got))
			require.NotContains(t, text, "confidential")
		})
	}
}

func TestLoggedPathsAreShort(t *testing.T) {
	for name, path := range map[string]string{
		"letters": "/" + strings.Repeat("a", 10_000), "escapes": "/" + strings.Repeat("%1b", 10_000), "quotes": "/" + strings.Repeat("%22'", 10_000),
	} {
		t.Run(name, func(t *testing.T) {
			lines, _ := logLines(t, slog.LevelInfo, request("GET", path, nil))
			got := lines[0]["path"].(string)
			require.LessOrEqual(t, len(got), 512)
			require.True(t, strings.HasSuffix(got, "…"), got)
			require.True(t, strings.HasPrefix(path, strings.TrimSuffix(got, "…")))
		})
	}
}

func TestDisabledLogLevel(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelDebug: 1, slog.LevelInfo: 0} {
		lines, _ := logLines(t, level, request("POST", eventPath, strings.NewReader(event())))
		require.Len(t, lines, want, fmt.Sprint(level))
	}
}
