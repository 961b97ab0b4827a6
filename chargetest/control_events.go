package chargetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

type eventsPage struct {
	Events []json.RawMessage `json:"events"`
	Count  int               `json:"count"` // on all pages
	More   bool              `json:"more"`
}

func (s *Server) listEvents(c *controlCall) (any, error) {
	q := &search{matchers: c.eventMatchers()}
	after, _ := c.Text("after")
	limit := c.limit()
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := s.refresh(q); err != nil {
		return nil, err
	}
	first := sort.Search(len(q.found), func(i int) bool { return q.found[i].ID > after })
	return newEventsPage(q.found[first:], len(q.found), limit)
}

func (f fields) limit() int {
	if n, ok := f.Whole("limit", 1, maxPage); ok {
		return n
	}
	return defaultPage
}

func newEventsPage(events []*Event, count, limit int) (eventsPage, error) {
	page, err := encodePage(events, limit, encodeEvent)
	return eventsPage{Events: page, Count: count, More: len(page) < len(events)}, err
}

func encodeEvent(e *Event) ([]byte, error) {
	text, err := e.MarshalJSON()
	if err != nil {
		return nil, err
	}
	platform, err := json.Marshal(e.Platform)
	return slices.Concat([]byte(`{"platform":`), platform, []byte(","), text[1:]), err
}

// encodePage returns at least one entry, at most limit, and about 8 MiB.
func encodePage[T any](list []T, limit int, encode func(T) ([]byte, error)) ([]json.RawMessage, error) {
	const maxBytes = 8 << 20
	page, size := []json.RawMessage{}, 0
	for _, entry := range list[:min(limit, len(list))] {
		text, err := encode(entry)
		if err != nil {
			return nil, err
		}
		if size += len(text); size > maxBytes && len(page) > 0 {
			break
		}
		page = append(page, text)
	}
	return page, nil
}

func (s *Server) seedEvents(c *controlCall) (any, error) {
	platform, ok := c.Text("platform")
	if !ok {
		platform = chargeingest.DefaultPlatform
	} else if platform == "" {
		c.Reject("platform", "must not be empty")
	}
	events := s.chargeEvents(c, "charge_datas")
	samples, _ := c.Whole("samples", 1, maxPage)
	switch {
	case c.Has("charge_datas") && c.Has("samples"):
		c.Reject("samples", "does not apply together with charge_datas")
	case !c.Has("charge_datas") && !c.Has("samples"):
		c.Add(chargeingest.CodeMissingField, "charge_datas", "is required, or samples")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Has("samples") {
		events = s.sampleEvents(samples)
	}
	stored, err := s.seed(platform, events)
	if err != nil {
		return nil, err
	}
	list := make([]chargeingest.ChargeEvent, len(stored))
	for i := range stored {
		list[i] = stored[i].ChargeEvent
	}
	return map[string]any{"charge_datas": list}, nil
}

func (s *Server) chargeEvents(c *controlCall, name string) []chargeingest.ChargeEvent {
	text, ok := c.Get(name)
	if !ok {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal([]byte(text), &list) != nil || len(list) == 0 || len(list) > maxPage {
		c.Reject(name, fmt.Sprintf("must be a list of 1 to %d events", maxPage))
		return nil
	}
	events := make([]chargeingest.ChargeEvent, len(list))
	for i, text := range list {
		if events[i].UnmarshalJSON(text) != nil {
			s.rejectEvents(c, fmt.Sprintf("%s.%d", name, i), text)
		}
	}
	return events
}

func (s *Server) chargeEvent(c *controlCall, name string) (ev chargeingest.ChargeEvent) {
	if text, ok := c.Get(name); ok && ev.UnmarshalJSON([]byte(text)) != nil {
		s.rejectEvents(c, name, []byte(text))
	}
	return ev
}

// rejectEvents adds the violations that the endpoint finds in an event with wrong types.
func (s *Server) rejectEvents(c *controlCall, path string, event []byte) {
	s.mu.Lock()
	handler := s.handler
	s.mu.Unlock()
	r := c.request.Clone(c.request.Context())
	r.Method, r.URL = http.MethodPost, &url.URL{Path: "/v1/ingest/charge-data"}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(event)), int64(len(event))
	for _, name := range []string{"Content-Encoding", "X-Platform-Id", "Idempotency-Key", "Expect"} {
		r.Header.Del(name)
	}
	res := newResponse()
	handler.ServeHTTP(res, r)
	var e errorBody
	if json.Unmarshal(res.body, &e) != nil || len(e.Errors) == 0 {
		c.Reject(path, "must be a charge event")
	}
	for _, v := range e.Errors {
		*c.Violations = append(*c.Violations, chargeingest.Violation{
			Code: chargeingest.Code(v.Code), Field: path + "." + v.Field, Message: path + "." + v.Message,
		})
	}
}

// sampleEvents have new references, also in the database of an earlier run.
func (s *Server) sampleEvents(n int) []chargeingest.ChargeEvent {
	events := make([]chargeingest.ChargeEvent, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range events {
		s.samples++
		events[i] = Sample(fmt.Sprintf("sample-%d-%d", s.now().Unix(), s.samples))
	}
	return events
}

const (
	defaultWait = 10 * time.Second
	maxWait     = 10 * time.Minute
)

func (s *Server) controlWait(c *controlCall) (any, error) {
	q := &search{matchers: c.eventMatchers()}
	count, hasCount := c.Whole("count", 1, httpapi.MaxWhole)
	if !hasCount {
		count = 1
	}
	requests, _ := c.Whole("requests", 1, httpapi.MaxWhole)
	timeout, ok := c.Duration("timeout", 0, maxWait)
	if !ok {
		timeout = defaultWait
	}
	if c.Has("requests") && (c.Has("count") || len(q.matchers) > 0) {
		c.Reject("requests", "does not apply together with count, reference, customer or platform")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	stored := func() (bool, error) { err := s.refresh(q); return len(q.found) >= count, err }
	received := func() (bool, error) { return s.countRequests() >= requests, nil }
	var err error
	if c.Has("requests") {
		err = s.waitFor(c.request, timeout, received, func() string {
			return s.withState(nil, "%s received, waited for %d", countOf(s.countRequests(), "request"), requests)
		})
	} else {
		err = s.waitFor(c.request, timeout, stored, func() string {
			return s.withState(q.matchers, "%s: %d stored, waited for %d", matcherNames(q.matchers), len(q.found), count)
		})
	}
	if err != nil {
		return nil, err
	}
	page, err := newEventsPage(q.found, len(q.found), maxPage)
	return waitResult{page, s.countRequests()}, err
}

type waitResult struct {
	eventsPage
	Requests int `json:"requests"`
}

func (s *Server) waitFor(r *http.Request, timeout time.Duration, met func() (bool, error), problem func() string) error {
	var failed error
	err := s.awaitChange(r.Context().Done(), timeout, func() (ok bool) {
		ok, failed = met()
		return ok || failed != nil
	})
	switch {
	case errors.Is(err, errWaitTimeout):
		return failedAssertion(problem())
	case err != nil:
		return err
	}
	return failed
}

func (s *Server) controlAssert(c *controlCall) (any, error) {
	count, _ := c.Whole("count", 0, httpapi.MaxWhole)
	matchers := c.eventMatchers()
	want := s.chargeEvent(c, "event")
	if noRejections, ok := c.Flag("no_rejections"); ok && !noRejections {
		c.Reject("no_rejections", "must be true")
	}
	given := c.Given("count", "event", "no_rejections")
	if len(given) != 1 {
		c.Add(chargeingest.CodeMissingField, "count", "is required, or event or no_rejections, one at a time")
	} else if given[0] != "count" && len(matchers) > 0 {
		c.Reject(given[0], "does not apply together with reference, customer or platform")
	}
	if c.Has("event") && (want.Reference == nil || *want.Reference == "") {
		c.Add(chargeingest.CodeMissingField, "event.reference", "is required")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	var problem string
	var err error
	switch given[0] {
	case "count":
		problem, err = s.checkCount(count, matchers)
	case "event":
		problem, err = s.checkEvent(want)
	default:
		problem, err = s.checkNoRejections()
	}
	if problem != "" {
		err = failedAssertion(problem)
	}
	return nil, err
}

func failedAssertion(problem string) error {
	return httpapi.NewError(http.StatusUnprocessableEntity, codeAssertionFailed, problem)
}
