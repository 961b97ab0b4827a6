package inspector

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestDetail(t *testing.T) {
	body := `{"reference":"r","value":{"number":1,"x":1e1000001}}`
	i := newViewed(t, nil)
	id := addRecord(i, func(r *record) {
		r.status, r.body = 400, []byte(body)
		r.stats.Violations = []chargeingest.Violation{
			{Code: "INVALID_FIELD", Field: "value.number", Message: "m1"},
			{Code: "MISSING_FIELD", Field: "value.amount.currency", Message: "m2"},
			{Code: "INVALID_FIELD", Field: "Idempotency-Key", Message: "m3"},
		}
		r.response, r.responseHeader = []byte(`{"code":"X"}`), headerOf("X-Request-Id", "q")
	})
	d := get[detail](t, i, "ada", requestPath(id))
	require.Equal(t, bodyText{Text: body, Bytes: int64(len(body)),
		Pretty: "{\n  \"reference\": \"r\",\n  \"value\": {\n    \"number\": 1,\n    \"x\": 1e1000001\n  }\n}"}, d.Body)
	require.Equal(t, responseText{[][2]string{{"X-Request-Id", "q"}}, bodyText{Text: `{"code":"X"}`, Pretty: "{\n  \"code\": \"X\"\n}", Bytes: 12}}, d.Response)
	require.Equal(t, []violation{
		{"INVALID_FIELD", "value.number", "m1", 4}, {"MISSING_FIELD", "value.amount.currency", "m2", 3}, {"INVALID_FIELD", "Idempotency-Key", "m3", 0},
	}, d.Violations)
	require.Equal(t, [][2]string{{"Content-Type", "application/json"}}, d.Header)
	require.Equal(t, []any{"example.org", "http", "/v1/ingest/charge-data", "reqr_1"}, []any{d.Host, d.Scheme, d.Path, d.RequestID})
	require.Nil(t, d.Conflict)
}

func TestErrorOfTheWholeRequest(t *testing.T) {
	for _, c := range []struct {
		body, message string
		line          int
	}{
		{`{"a":{"b":1},}`, "invalid JSON at byte 12", 4},
		{"{\"a\":1,\n b:2}", "invalid JSON at byte 9, in a", 3},
		{`{"a":1,"a":2}`, "two fields of the same name at byte 7, in a", 3},
		{`{"a":1}`, "invalid JSON at byte 99999999999999999999", 0},
		{`{"a":1`, "invalid JSON at byte 6", 2},
		{`{"a":1`, "invalid JSON at byte 7", 0},
		{`a=1`, "invalid JSON at byte 0", 0},
		{`{"a":1}`, "Content-Type must be application/json", 0},
	} {
		i := newViewed(t, nil)
		id := addRecord(i, func(r *record) {
			r.status, r.body, r.response = 400, []byte(c.body), fmt.Appendf(nil, `{"code":"X","message":%q}`, c.message)
		})
		require.Equal(t, []violation{{"X", "", c.message, c.line}}, get[detail](t, i, "ada", requestPath(id)).Violations, c.body)
	}
}

func TestHostileBodies(t *testing.T) {
	for _, c := range []struct {
		name      string
		change    func(*record)
		text      string
		encoding  string
		truncated bool
	}{
		{"script", func(r *record) { r.body = []byte("<script>\u2028\u2029&\x00\x1b[31m") }, "<script>\u2028\u2029&\x00\x1b[31m", "", false},
		{"invalid UTF-8", func(r *record) { r.body = []byte("{\"\xff\"}") }, base64.StdEncoding.EncodeToString([]byte("{\"\xff\"}")), "base64", false},
		{"a cut character", func(r *record) { r.body, r.bodyTruncated = []byte("{\"é\xf0\x9f\x98"), true }, `{"é`, "", true},
		{"gzip", func(r *record) { asGzip(t, r, `{"a":1}`) }, `{"a":1}`, "gzip", false},
		{"gzip that is cut", func(r *record) {
			asGzip(t, r, `{"a":1}`)
			r.body = r.body[:len(r.body)-4]
		}, `{"a":1}`, "gzip", true},
		{"gzip of invalid UTF-8", func(r *record) { asGzip(t, r, "\xff") }, "/w==", "base64", false},
		{"not gzip", func(r *record) { asGzip(t, r, ""); r.body = []byte("plain") }, "plain", "", false},
		{"a bomb", func(r *record) { asGzip(t, r, strings.Repeat("x", 10<<20)) }, strings.Repeat("x", maxDecodedBytes), "gzip", true},
		{"no body", func(r *record) { r.body = nil }, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newViewed(t, nil)
			id := addRecord(i, c.change)
			w := call{key: "ada"}.do(i, requestPath(id))
			for _, unsafe := range []string{"<", "\u2028", "\u2029", "\x00", "\xff", "\x1b"} {
				require.NotContains(t, w.Body.String(), unsafe)
			}
			var d detail
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &d))
			if c.text != d.Body.Text {
				t.Errorf("another text: %.100q", d.Body.Text)
			}
			require.Equal(t, []any{c.encoding, c.truncated}, []any{d.Body.Encoding, d.Body.Truncated})
			require.Equal(t, http.StatusOK, call{key: "ada"}.do(i, "api/requests?text=zz&reference="+url.QueryEscape("a b")).Code)
		})
	}
}
