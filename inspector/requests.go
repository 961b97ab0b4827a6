package inspector

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"
)

const (
	// maxSearchBytes bounds the work of one search, which then ends early.
	maxSearchBytes = 64 << 20

	maxSummaryText = 1024 // characters of a URI
	maxReference   = 256  // characters
	maxReferences  = 3
)

type requestList struct {
	Requests []summary `json:"requests"`
	Newest   int64     `json:"newest"` // the log was searched between Oldest and Newest
	Oldest   int64     `json:"oldest"`
	More     bool      `json:"more"`
}

type summary struct {
	ID         int64     `json:"id"`
	Time       time.Time `json:"time"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Route      string    `json:"route"`
	Status     int       `json:"status"`
	Platform   string    `json:"platform"`
	Subject    string    `json:"subject"`
	Identified bool      `json:"identified"`
	Events     int       `json:"events"`
	Replayed   int       `json:"replayed"`
	DurationMS float64   `json:"duration_ms"`
	Code       string    `json:"code"`
	Field      string    `json:"field"`
	RequestID  string    `json:"request_id"`
	Client     string    `json:"client"`
	References []string  `json:"references"`
	EventCount int       `json:"event_count"`
	Note       string    `json:"note"`
}

func (a *api) listRequests(v viewer, r *http.Request) (any, error) {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	leave, err := a.searches.Enter(r.Context(), v.platform)
	if err != nil {
		return nil, errCanceled
	}
	defer leave()
	return a.find(r.Context(), a.scope(v), q)
}

func (a *api) find(ctx context.Context, s scope, q query) (requestList, error) {
	newest, _ := a.requests.newest(s)
	records := a.requests.list(s, q.after, q.before)
	list := requestList{Requests: []summary{}, Newest: newest, Oldest: q.after}
	if len(records) > 0 {
		list.Newest = max(newest, records[0].id)
	}
	if q.before > 0 {
		list.Newest = min(list.Newest, q.before-1)
	}
	search := search{query: q, maxDecoded: a.cfg.MaxBodyBytes}
	for _, r := range records {
		if ctx.Err() != nil {
			return list, errCanceled
		}
		if list.More = len(list.Requests) == q.limit && search.matches(r); list.More {
			break
		}
		if len(list.Requests) < q.limit && search.matches(r) {
			body := decodedBody(r, a.cfg.MaxBodyBytes).text
			search.examined += len(body)
			list.Requests = append(list.Requests, summarize(r, body))
			list.Oldest = r.id
		}
		if search.examined > maxSearchBytes && r != records[len(records)-1] {
			list.More, list.Oldest = true, r.id
			break
		}
	}
	if !list.More {
		list.Oldest = q.after
	}
	return list, nil
}

func summarize(r *record, body []byte) summary {
	rejection := rejectionOf(r)
	s := summary{
		ID: r.id, Time: r.time.UTC(), Method: r.method, Path: cut(r.uri, maxSummaryText),
		Route: string(r.stats.Route), Status: r.status,
		Platform: r.stats.Platform, Subject: r.stats.Subject, Identified: r.stats.Platform != "",
		Events: r.stats.Events, Replayed: r.stats.Replayed,
		DurationMS: milliseconds(r.duration), Code: rejection.code, Field: rejection.field,
		RequestID: r.stats.RequestID, Client: r.client, References: []string{}, Note: r.note,
	}
	if s.RequestID == "" {
		s.RequestID = headerValue(r.responseHeader, "X-Request-Id")
	}
	eachEvent(body, func(e sentEvent) bool {
		s.EventCount++
		if e.reference != "" && len(s.References) < maxReferences {
			s.References = append(s.References, cut(e.reference, maxReference))
		}
		return true
	})
	return s
}

type rejection struct{ code, field string }

// rejectionOf also reads the errors of middleware that have the contract's shape.
func rejectionOf(r *record) rejection {
	const maxBytes = 16 << 10 // of an error
	if r.stats.Code != "" || r.status < http.StatusBadRequest || len(r.response) > maxBytes {
		return rejection{string(r.stats.Code), r.stats.Field}
	}
	var e struct{ Code, Field string }
	_ = json.Unmarshal(r.response, &e) // another shape has no code
	return rejection{cut(e.Code, maxReference), cut(e.Field, maxReference)}
}

func headerValue(header []headerField, name string) string {
	for _, h := range header {
		if strings.EqualFold(h.name, name) {
			return h.value
		}
	}
	return ""
}

func milliseconds(d time.Duration) float64 {
	return math.Round(d.Seconds()*1e6) / 1e3
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}
