package inspector

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
	"example.com/chargeingest/internal/params"
)

const (
	none         = "none"
	maxListed    = 1000
	maxTextBytes = 1024
)

type query struct {
	after, before int64
	limit         int

	minStatus, maxStatus int
	noResponse           bool
	route                string
	code                 string
	reference, customer  string
	text                 string // lower case
}

func parameters() []params.Parameter[query] {
	const (
		id   = "the id of a request"
		text = "1 to 1024 bytes without control characters"
	)
	return []params.Parameter[query]{
		params.New("after", id, func(q *query, v string) bool { return parseID(&q.after, v) }),
		params.New("before", id, func(q *query, v string) bool { return parseID(&q.before, v) }),
		params.New("limit", "a whole number from 1 to 1000", func(q *query, v string) bool {
			n, err := strconv.Atoi(v)
			q.limit = n
			return err == nil && n >= 1 && n <= maxListed
		}),
		params.New("status", "2xx, 4xx, 5xx, a number such as 409, or none", parseStatus),
		params.New("code", text, func(q *query, v string) bool { q.code = v; return isFilterText(v) }),
		params.New("reference", text, func(q *query, v string) bool { q.reference = v; return isFilterText(v) }),
		params.New("customer", text, func(q *query, v string) bool { q.customer = v; return isFilterText(v) }),
		params.New("route", "charge-data, charge-datas, charge-data/{id}, charge-data list, or none", func(q *query, v string) bool {
			q.route = v
			routes := []chargeingest.Route{chargeingest.RouteSingle, chargeingest.RouteBatch, chargeingest.RouteGet, chargeingest.RouteList, none}
			return slices.Contains(routes, chargeingest.Route(v))
		}),
		params.New("text", text, func(q *query, v string) bool { q.text = string(lowerASCII([]byte(v))); return isFilterText(v) }),
	}
}

func parseID(id *int64, value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	*id = n
	return err == nil && n >= 0
}

func parseStatus(q *query, value string) bool {
	q.noResponse = value == none
	switch value {
	case none:
		return true
	case "2xx", "4xx", "5xx":
		q.minStatus = int(value[0]-'0') * 100
		q.maxStatus = q.minStatus + 99
		return true
	}
	n, err := strconv.Atoi(value)
	q.minStatus, q.maxStatus = n, n
	return err == nil && n >= 100 && n <= 999
}

func isFilterText(s string) bool {
	return len(s) <= maxTextBytes && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// parseQuery ignores empty parameters.
func parseQuery(raw string) (query, error) {
	q := query{limit: 200}
	known := parameters()
	for i, p := range known {
		known[i].Parse = func(q *query, value string) bool { return value == "" || p.Parse(q, value) }
	}
	problems := params.Parse(raw, &q, known)
	if len(problems) == 0 {
		return q, nil
	}
	first := problems[0]
	e := httpapi.NewError(http.StatusBadRequest, chargeingest.CodeInvalidField, first.Name+first.Problem)
	e.Field = first.Name
	return q, e
}

type search struct {
	query
	needle     []byte
	maxDecoded int
	examined   int
	window     []byte
}

func (s *search) matches(r *record) bool {
	switch {
	case s.noResponse && r.status != 0:
		return false
	case s.minStatus > 0 && (r.status < s.minStatus || r.status > s.maxStatus):
		return false
	case s.route == none && r.stats.Route != "":
		return false
	case s.route != "" && s.route != none && s.route != string(r.stats.Route):
		return false
	case s.code != "" && s.code != rejectionOf(r).code:
		return false
	case s.reference == "" && s.customer == "" && s.text == "":
		return true
	}
	body := decodedBody(r, s.maxDecoded).text
	s.examined += len(body)
	return s.hasEvent(body) && s.hasText(r, body)
}

func (s *search) hasEvent(body []byte) bool {
	if s.reference == "" && s.customer == "" {
		return true
	}
	found := bytes.IndexByte(body, '\\') >= 0 || bytes.Contains(body, []byte(s.reference)) && bytes.Contains(body, []byte(s.customer))
	if !found {
		return false // without escapes, bodies have names as they are
	}
	found = false
	eachEvent(body, func(e sentEvent) bool {
		found = (s.reference == "" || e.reference == s.reference) && (s.customer == "" || e.hasCustomer(s.customer))
		return !found
	})
	return found
}

func (s *search) hasText(r *record, body []byte) bool {
	return s.text == "" ||
		containsFold(s, r.uri) || containsFold(s, r.note) || s.inHeader(r.header) || s.inHeader(r.responseHeader) ||
		containsFold(s, body) || containsFold(s, r.response)
}

func (s *search) inHeader(header texts) bool {
	for _, value := range header.pairs() {
		if containsFold(s, value) {
			return true
		}
	}
	return false
}

func containsFold[T string | []byte](s *search, text T) bool {
	const step = 16 << 10
	s.examined += len(text)
	if s.window == nil {
		s.window = make([]byte, step+maxTextBytes)
	}
	for start := 0; len(text)-start >= len(s.text); start += step {
		n := copy(s.window[:step+len(s.text)-1], text[start:])
		if bytes.Contains(lowerASCII(s.window[:n]), s.needle) {
			return true
		}
	}
	return false
}

func lowerASCII(text []byte) []byte {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return text
}
