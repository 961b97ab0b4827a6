package inspector

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"
)

const (
	// These end a search early.
	maxSearchBytes = 64 << 20
	maxListBytes   = 4 << 20

	maxSummaryText = 1024
	maxReference   = 256
	maxReferences  = 3
)

type requestList struct {
	requests       [][]byte
	bytes          int
	newest, oldest int64
	more           bool
}

func (l requestList) encode() []byte {
	text := append(make([]byte, 0, l.bytes+len(l.requests)+128), `{"requests":[`...)
	for i, r := range l.requests {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, r...)
	}
	return fmt.Appendf(text, "],\"newest\":%d,\"oldest\":%d,\"more\":%t}\n", l.newest, l.oldest, l.more)
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
	s := a.scope(v)
	if text := a.recent.get(s, q); text != nil {
		return text, nil
	}
	list, err := a.find(r.Context(), s, q)
	if err != nil {
		return nil, err
	}
	text := encodedJSON(list.encode())
	a.recent.put(s, q, list, text)
	return text, nil
}

// recentList saves work when many pages ask.
type recentList struct {
	mu     sync.Mutex
	scope  scope
	query  query // without after
	oldest int64
	text   encodedJSON
	ends   time.Time
}

const (
	maxListAge     = 500 * time.Millisecond
	maxRecentBytes = 1 << 20
)

func (l *recentList) get(s scope, q query) encodedJSON {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := q.after > 0 && q.after < l.oldest
	if q.after = 0; !known || s != l.scope || q != l.query || !time.Now().Before(l.ends) {
		return nil
	}
	return l.text
}

func (l *recentList) put(s scope, q query, list requestList, text encodedJSON) {
	if q.after == 0 || q.before > 0 || !list.more || len(text) > maxRecentBytes {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q.after = 0
	l.scope, l.query, l.oldest, l.text, l.ends = s, q, list.oldest, text, time.Now().Add(maxListAge)
}

func (a *api) find(ctx context.Context, s scope, q query) (requestList, error) {
	const step = 1024
	newest := a.requests.newest(s)
	records := a.requests.list(s, q.after, q.before, step)
	list := requestList{newest: newest, oldest: q.after}
	if len(records) > 0 {
		list.newest = max(newest, records[0].id)
	}
	if q.before > 0 {
		list.newest = min(list.newest, q.before-1)
	}
	search := search{query: q, needle: []byte(q.text), maxDecoded: a.cfg.MaxBodyBytes}
	for len(records) > 0 {
		for _, r := range records {
			if ctx.Err() != nil {
				return list, errCanceled
			}
			if search.matches(r) {
				if list.more = len(list.requests) == q.limit; list.more {
					return list, nil
				}
				text, examined := a.summaries.encode(r, a.cfg.MaxBodyBytes)
				search.examined += examined
				list.requests = append(list.requests, text)
				list.oldest = r.id
				list.bytes += len(text)
			}
			if search.examined > maxSearchBytes || list.bytes > maxListBytes {
				list.more, list.oldest = true, r.id
				return list, nil
			}
		}
		records = a.requests.list(s, q.after, records[len(records)-1].id, step)
	}
	list.oldest = q.after
	return list, nil
}

type summaryCache struct {
	mu      sync.Mutex
	entries [1 << summaryBits]struct {
		id   int64
		text []byte
	}
}

const summaryBits = 10

func (c *summaryCache) encode(r *record, maxDecoded int) (text []byte, examined int) {
	const multiplier = 0x9e3779b97f4a7c15 // spreads ids of regular times
	entry := &c.entries[uint64(r.id)*multiplier>>(64-summaryBits)]
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry.id == r.id {
		return entry.text, 0
	}
	const maxCachedBytes = 4 << 10
	body := decodedBody(r, maxDecoded).text
	text, _ = json.Marshal(summarize(r, body))
	if len(text) <= maxCachedBytes {
		entry.id, entry.text = r.id, text
	}
	return text, len(body)
}

func summarize(r *record, body []byte) summary {
	rejection := rejectionOf(r)
	s := summary{
		ID: r.id, Time: r.time.UTC(), Method: cut(r.method, maxSummaryText), Path: cut(r.uri, maxSummaryText),
		Route: string(r.stats.Route), Status: r.status,
		Platform: r.stats.Platform, Subject: cut(r.stats.Subject, maxSummaryText), Identified: r.stats.Platform != "",
		Events: r.stats.Events, Replayed: r.stats.Replayed,
		DurationMS: milliseconds(r.duration), Code: rejection.code, Field: rejection.field,
		RequestID: cut(r.stats.RequestID, maxSummaryText), Client: r.client, References: []string{}, Note: cut(r.note, maxSummaryText),
	}
	if s.RequestID == "" {
		s.RequestID = cut(r.responseHeader.value("X-Request-Id"), maxSummaryText)
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

// rejectionOf also reads errors of middleware.
func rejectionOf(r *record) rejection {
	const maxBytes = 16 << 10
	if r.stats.Code != "" || r.status < http.StatusBadRequest || len(r.response) > maxBytes {
		return rejection{string(r.stats.Code), r.stats.Field}
	}
	var e struct{ Code, Field string }
	_ = json.Unmarshal(r.response, &e)
	return rejection{cut(e.Code, maxReference), cut(e.Field, maxReference)}
}

func milliseconds(d time.Duration) float64 {
	return math.Round(d.Seconds()*1e6) / 1e3
}

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
