package chargetest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/httpapi"
)

type controlState struct {
	Now      time.Time `json:"now"`
	URL      string    `json:"url"`
	Events   int       `json:"events"`
	Requests int       `json:"requests"`
	Rejected int       `json:"rejected"`
	Faults   int       `json:"faults"`
	Profile  profile   `json:"profile"`
}

func (s *Server) controlState(c *controlCall) (any, error) {
	stored := new(search)
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := s.refresh(stored); err != nil {
		return nil, err
	}
	state := controlState{
		Now: s.Now().UTC(), URL: s.baseURL(c.request), Events: len(stored.found),
		Faults: len(s.activeRules()), Profile: s.profile(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state.Requests, state.Rejected = s.journal.received, s.journal.rejectedCount()
	return state, nil
}

// baseURL is that of r if the endpoint has no listener.
func (s *Server) baseURL(r *http.Request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.url != "":
		return s.url
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Server) listFaults(c *controlCall) (any, error) {
	rules := []map[string]any{}
	for _, r := range s.activeRules() {
		rules = append(rules, s.controlRule(r))
	}
	return map[string]any{"faults": rules}, c.Check()
}

func (s *Server) addFault(c *controlCall) (any, error) {
	rule, invalid := c.rule(s.Now())
	if err := c.Err(); err != nil {
		return nil, err
	}
	if invalid != nil {
		return nil, badRequest(invalid.Error())
	}
	if err := json.Unmarshal(c.body, &rule.form); err != nil {
		return nil, err
	}
	hideCredential(rule.form)
	s.addRule(rule)
	return s.controlRule(rule), nil
}

func (s *Server) removeFaults(c *controlCall) (any, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	for _, r := range s.activeRules() {
		r.Remove()
	}
	return nil, nil
}

func (s *Server) removeFault(c *controlCall) (any, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	for _, r := range s.activeRules() {
		if strconv.Itoa(r.id) == c.id {
			r.Remove()
			return nil, nil
		}
	}
	return nil, httpapi.NewError(http.StatusNotFound, chargeingest.CodeResourceNotFound, "there is no such fault; those that are used up are not listed")
}

func (s *Server) readClock(c *controlCall) (any, error) { return s.clockResult(), c.Check() }

func (s *Server) clockResult() any { return map[string]any{"now": s.Now().UTC()} }

func (s *Server) changeClock(c *controlCall) (any, error) {
	d, advances := c.Duration("advance", 0, httpapi.MaxDuration)
	to, _ := c.time("set")
	given := c.Given("advance", "set")
	if len(given) != 1 {
		c.Add(chargeingest.CodeMissingField, "advance", "is required, or set, one at a time")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	err := s.setClock(func(now time.Time) time.Time {
		if advances {
			return now.Add(d)
		}
		return to
	})
	if err != nil {
		c.Reject(given[0], "is invalid: "+err.Error())
	}
	return s.clockResult(), c.Err()
}

func (f fields) time(name string) (t time.Time, ok bool) {
	text, ok := f.Text(name)
	if !ok {
		return t, false
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		f.Reject(name, `must be a time such as "2026-01-01T00:00:00Z"`)
	}
	return t, err == nil
}

func (s *Server) controlReset(c *controlCall) (any, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if s.options.KeepEvents {
		return nil, httpapi.NewError(http.StatusConflict, chargeingest.CodeInvalidOperation, "the server keeps the events of its database; only a server without one can be reset")
	}
	return nil, s.reset()
}

func (s *Server) controlRestart(c *controlCall) (any, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	s.restart(c.request.Context())
	c.header.Set("Connection", "close")
	return nil, nil
}
