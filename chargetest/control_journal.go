package chargetest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
	"example.com/chargeingest/internal/redact"
)

type requestsPage struct {
	Requests []json.RawMessage `json:"requests"`
	Count    int               `json:"count"` // on all pages
	More     bool              `json:"more"`
}

type journalEntry struct {
	Number            int                 `json:"number"`
	ReceivedAt        time.Time           `json:"received_at"`
	Method            string              `json:"method"`
	URI               string              `json:"uri"`
	Header            map[string][]string `json:"header"`
	Body              string              `json:"body"`
	BodyBytes         int                 `json:"body_bytes"`
	BodyTruncated     bool                `json:"body_truncated"`
	References        []string            `json:"references"`
	Route             chargeingest.Route  `json:"route"`
	Platform          string              `json:"platform"`
	Ended             bool                `json:"ended"`
	Status            int                 `json:"status"`
	ResponseBody      string              `json:"response_body"`
	ResponseBytes     int                 `json:"response_bytes"`
	ResponseTruncated bool                `json:"response_truncated"`
	Rejected          bool                `json:"rejected"`
	Code              chargeingest.Code   `json:"code"`
	Field             string              `json:"field"`
	Message           string              `json:"message"`
	Violations        int                 `json:"violations"`
	Stored            int                 `json:"stored"`
	Replayed          int                 `json:"replayed"`
	Fault             string              `json:"fault"`
	Hint              string              `json:"hint"`
}

func (s *Server) listRequests(c *controlCall) (any, error) {
	after, _ := c.Whole("after", 0, httpapi.MaxWhole)
	limit := c.limit()
	rejected, byRejected := c.Flag("rejected")
	reference, byReference := c.Text("reference")
	if err := c.Check(); err != nil {
		return nil, err
	}
	selected := slices.DeleteFunc(s.Requests(), func(r Request) bool {
		return byRejected && r.rejected != rejected || byReference && !Reference(reference).matchesRequest(&r)
	})
	next := selected
	for len(next) > 0 && next[0].Number <= after {
		next = next[1:]
	}
	page, err := encodePage(next, limit, encodeRequest)
	return requestsPage{page, len(selected), len(page) < len(next)}, err
}

func encodeRequest(r Request) ([]byte, error) {
	e := journalEntry{
		Number: r.Number, ReceivedAt: r.ReceivedAt.UTC(), Method: r.Method, URI: r.RequestURI, Header: hideCredentials(r.Header),
		BodyBytes: len(r.Body), References: references(r.Events), Route: r.Route, Platform: r.Platform,
		Ended: r.ended, Status: r.Status, ResponseBytes: len(r.ResponseBody), Rejected: r.rejected,
		Code: r.Code, Field: r.Field, Message: r.Message, Violations: r.Violations,
		Stored: r.Stored, Replayed: r.Replayed, Fault: r.Fault, Hint: r.Hint,
	}
	e.Body, e.BodyTruncated = shorten(r.Body)
	e.ResponseBody, e.ResponseTruncated = shorten(r.ResponseBody)
	return encodeJSON(e)
}

func references(events []chargeingest.ChargeEvent) []string {
	list := []string{}
	for i := range events {
		if reference := events[i].Reference; reference != nil && *reference != "" {
			list = append(list, *reference)
		}
	}
	return list
}

func hideCredentials(header http.Header) http.Header {
	shown := header.Clone()
	for name, values := range shown {
		for i := range values {
			if redact.IsSecretHeader(name) {
				values[i] = hidden
			}
		}
	}
	return shown
}

func shorten[T string | []byte](text T) (short string, cut bool) {
	const maxBytes = 64 << 10
	if len(text) <= maxBytes {
		return string(text), false
	}
	end := maxBytes
	for end > maxBytes-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return string(text[:end]), true
}

func encodeJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return text.Bytes(), err
}
