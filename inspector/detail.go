package inspector

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
)

type detail struct {
	summary
	Host       string            `json:"host"`
	Scheme     string            `json:"scheme"`
	Header     [][2]string       `json:"header"`
	Body       bodyText          `json:"body"`
	Response   responseText      `json:"response"`
	Violations []violation       `json:"violations"`
	Conflict   *conflictingEvent `json:"conflict"`
}

type responseText struct {
	Header [][2]string `json:"header"`
	bodyText
}

type violation struct {
	Code    chargeingest.Code `json:"code"`
	Field   string            `json:"field"`
	Message string            `json:"message"`
	Line    int               `json:"line"` // of the pretty body, or 0
}

func (a *api) request(v viewer, r *http.Request, id string) (any, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	var rec *record
	if err == nil {
		rec = a.requests.get(a.scope(v), n)
	}
	if rec == nil {
		return nil, httpapi.NotFound("no request has this id, or it was dropped")
	}
	stored := a.storedConflict(r.Context(), rec)
	leave, err := a.searches.Enter(r.Context(), v.platform)
	if err != nil {
		return nil, errCanceled
	}
	defer leave()
	body := decodedBody(rec, maxDecodedBytes)
	d := detail{
		summary: summarize(rec, body.text), Host: rec.host, Scheme: rec.scheme,
		Header:     rec.header.sorted(),
		Response:   responseText{rec.responseHeader.sorted(), newBodyText(rec.response, rec.responseTruncated, nil)},
		Violations: []violation{},
	}
	d.Method, d.Path, d.Note = rec.method, rec.uri, rec.note
	fields := make([]string, len(rec.stats.Violations))
	for i, violated := range rec.stats.Violations {
		fields[i] = violated.Field
	}
	lines := wantedLines(fields)
	d.Body = newBodyText(body.text, body.truncated, lines)
	d.Body.Bytes = int64(len(rec.body))
	if rec.bodyTruncated {
		d.Body.Bytes = max(d.Body.Bytes, rec.stats.Bytes)
	}
	if body.gzipped && d.Body.Encoding == "" {
		d.Body.Encoding = "gzip"
	}
	for _, violated := range rec.stats.Violations {
		line := lines.nearest(violated.Field)
		if violated.Field == idempotencyKey {
			line = lines[idempotencyKey]
		}
		d.Violations = append(d.Violations, violation{violated.Code, violated.Field, violated.Message, line})
	}
	if len(d.Violations) == 0 {
		d.Violations = responseError(rec, body.text)
	}
	d.Conflict = a.compare(r.Context(), rec, body.text, stored)
	return d, nil
}

// responseError is an error without violations.
func responseError(rec *record, body []byte) []violation {
	var sent violation
	if rec.status < 400 || json.Unmarshal(rec.response, &sent) != nil || sent.Message == "" {
		return []violation{}
	}
	at := 0
	_, position, _ := strings.Cut(sent.Message, " at byte ")
	if n, _ := fmt.Sscanf(position, "%d", &at); n == 1 && at >= 0 && at <= len(body) {
		if upTo := pretty(body[:min(at+1, len(body))], nil); upTo != "" {
			sent.Line = 1 + strings.Count(upTo, "\n")
		}
	}
	return []violation{sent}
}

const (
	idempotencyKey = "Idempotency-Key"

	maxDecodedBytes = 1 << 20
)
