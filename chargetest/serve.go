package chargetest

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/inspector"
)

type call struct {
	ctx       context.Context
	request   *Request // guarded by Server.mu
	fault     Fault
	restarted <-chan struct{}
	journal   *journal
	quirks    quirkState

	storeFailed bool
	quirk       string // that rejected the request, or empty
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if s.wrongBubble(s.t) {
		http.Error(w, "chargetest: the server and its caller are not in the same synctest bubble", http.StatusInternalServerError)
		return
	}
	c := &call{ctx: r.Context(), request: newRequest(r)}
	handler, hasRules := s.begin(c)
	if handler == nil {
		http.Error(w, "chargetest: the server is closed or its configuration is invalid", http.StatusInternalServerError)
		return
	}
	defer s.end(c)
	body := newRecordedBody(r)
	if hasRules {
		body.readAll() // matchers can depend on the content
		s.recordBody(c, r, body)
		s.assignFault(c)
		if c.request.Fault != "" {
			inspector.Note(c.ctx, "fault "+c.request.Fault)
		}
	}
	beforeCommit := !c.fault.afterCommit
	if beforeCommit && (!s.sleep(c, c.fault.delay) || c.fault.kind == kindReset) {
		s.cut(c, w)
		return
	}
	if beforeCommit && c.fault.kind == kindStatus {
		s.send(c, w, s.errorResponse(c, c.fault, ""))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	r.Body = body
	res := s.rateLimited(c)
	if res == nil {
		res = newResponse()
		handler.ServeHTTP(res, r)
		res.injected = c.storeFailed
	}
	if !hasRules {
		body.drain(r)
		s.recordBody(c, r, body)
	}
	s.recordRejection(c, res)
	if c.request.Hint != "" {
		inspector.Note(c.ctx, c.request.Hint)
	}
	if !beforeCommit && !s.sleep(c, c.fault.delay) {
		s.cut(c, w)
		return
	}
	s.respond(c, w, res)
}

func (s *Server) begin(c *call) (handler *chargeingest.Handler, hasRules bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed || s.handler == nil {
		return nil, false
	}
	s.journal.add(c.request)
	c.request.ReceivedAt = s.now()
	c.journal, c.restarted, c.quirks = s.journal, s.restarting, s.quirks
	s.notify()
	return s.handler, len(s.rules) > 0
}

func (s *Server) recordBody(c *call, r *http.Request, body *recordedBody) {
	text, events := decodeBody(r, body.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Body, c.request.Events = text, events
	c.journal.resize(c.request)
}

func (s *Server) assignFault(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault, rule := s.faultFor(c.request); rule != nil {
		c.fault, c.request.Fault = fault, rule.String()
	}
}

func (s *Server) respond(c *call, w http.ResponseWriter, res *response) {
	switch c.fault.kind {
	case kindStatus:
		s.send(c, w, s.errorResponse(c, c.fault, res.header.Get("X-Request-Id")))
	case kindReset:
		s.cut(c, w)
	case kindMalformed:
		half := len(res.body) / 2
		res.body = append(res.body[:half:half], "…"...)
		res.header.Set("Content-Length", strconv.Itoa(len(res.body)))
		s.send(c, w, res)
	case kindTruncated:
		res.writeHead(w)
		_, _ = w.Write(res.body[:len(res.body)/2])
		s.end(c)
		_ = http.NewResponseController(w).Flush()
		_ = hijack(w).Close()
	case kindSlowBody:
		s.sendSlowly(c, w, res)
	default:
		s.send(c, w, res)
	}
}

func (s *Server) sleep(c *call, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
	case <-c.restarted:
	case <-s.closing:
	}
	return false
}

func (s *Server) send(c *call, w http.ResponseWriter, res *response) {
	s.recordResponse(c, res)
	res.writeHead(w)
	_, _ = w.Write(res.body)
}

func (s *Server) sendSlowly(c *call, w http.ResponseWriter, res *response) {
	const pieces = 8
	s.recordResponse(c, res)
	res.writeHead(w)
	for i := range pieces {
		if !s.sleep(c, c.fault.bodyTime/pieces) {
			s.cut(c, w)
			return
		}
		_, _ = w.Write(res.body[len(res.body)*i/pieces : len(res.body)*(i+1)/pieces])
		_ = http.NewResponseController(w).Flush()
	}
}

func (s *Server) cut(c *call, w http.ResponseWriter) {
	s.end(c)
	hijack(w).reset()
}

func hijack(w http.ResponseWriter) *conn {
	hijacked, _, err := http.NewResponseController(w).Hijack()
	if c, ok := hijacked.(*conn); ok {
		return c
	}
	if err == nil {
		_ = hijacked.Close()
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) recordStats(ctx context.Context, stats chargeingest.RequestStats) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.Route, c.request.Platform, c.request.Replayed = stats.Route, stats.Platform, stats.Replayed
}

func (s *Server) recordRejection(c *call, res *response) {
	if res.status < 400 || res.injected {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.request.rejected = true
	c.journal.addRejected(c.request)
	c.request.setError(res.body)
	if c.quirk != "" {
		c.request.Hint = quirkHint(c.quirk)
	}
}

func (s *Server) recordResponse(c *call, res *response) {
	s.mu.Lock()
	c.request.Status, c.request.ResponseBody = res.status, bytes.Clone(res.body)
	c.journal.resize(c.request)
	if res.status >= 400 && !c.request.rejected {
		c.request.setError(res.body)
	}
	line := ""
	if c.request.Fault != "" || c.request.rejected {
		line = c.request.String()
	}
	s.mu.Unlock()
	if line != "" {
		s.logLine(line)
	}
}

func (s *Server) end(c *call) {
	s.mu.Lock()
	if c.request.ended {
		s.mu.Unlock()
		return
	}
	c.request.ended = true
	line := ""
	if c.request.Status == 0 {
		line = c.request.String()
	}
	s.notify()
	s.mu.Unlock()
	if line != "" {
		s.logLine(line)
	}
}
