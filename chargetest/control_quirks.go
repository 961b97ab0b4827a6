package chargetest

import (
	"strings"
	"time"

	"example.com/chargeingest/internal/httpapi"
)

type profile struct {
	MinReferenceLength int            `json:"min_reference_length"`
	MaxFutureSkew      string         `json:"max_future_skew"`
	WholeSeconds       bool           `json:"whole_seconds"`
	MaxBatchEvents     int            `json:"max_batch_events"`
	ReturnOriginal     bool           `json:"return_original"`
	Catalogue          bool           `json:"catalogue"`
	RateLimit          *profileLimits `json:"rate_limit"`
}

type profileLimits struct {
	Requests int    `json:"requests"`
	Window   string `json:"window"`
}

func (s *Server) profile() profile {
	q := s.Quirks()
	p := profile{
		MinReferenceLength: q.MinReferenceLength, MaxFutureSkew: durationText(q.MaxFutureSkew), WholeSeconds: q.WholeSeconds,
		MaxBatchEvents: q.MaxBatchEvents, ReturnOriginal: q.ReturnOriginal, Catalogue: q.Catalogue,
	}
	if q.RateLimit != (RateLimit{}) {
		p.RateLimit = &profileLimits{q.RateLimit.Requests, durationText(q.RateLimit.Window)}
	}
	return p
}

// durationText returns 30m, not 30m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (s *Server) readProfile(c *controlCall) (any, error) { return s.profile(), c.Check() }

var quirksOff = map[string]string{
	"min_reference_length": "0", "max_future_skew": `"0s"`, "whole_seconds": "false",
	"max_batch_events": "0", "return_original": "false", "catalogue": "false", "rate_limit": "null",
}

func (s *Server) changeProfile(c *controlCall) (any, error) {
	q := s.Quirks()
	for name, off := range quirksOff {
		if text := c.Values[name]; text == "null" || text == "0" {
			c.Values[name] = off
		}
	}
	if c.Values["rate_limit"] == "null" {
		q.RateLimit = RateLimit{}
		delete(c.Values, "rate_limit")
	}
	if n, ok := c.Whole("min_reference_length", 0, maxReferenceLength); ok {
		q.MinReferenceLength = n
	}
	if d, ok := c.Duration("max_future_skew", 0, httpapi.MaxDuration); ok {
		q.MaxFutureSkew = d
	}
	if on, ok := c.Flag("whole_seconds"); ok {
		q.WholeSeconds = on
	}
	if n, ok := c.Whole("max_batch_events", 0, httpapi.MaxWhole); ok {
		q.MaxBatchEvents = n
	}
	if on, ok := c.Flag("return_original"); ok {
		q.ReturnOriginal = on
	}
	if on, ok := c.Flag("catalogue"); ok {
		q.Catalogue = on
	}
	if limit, ok := c.object("rate_limit"); ok {
		q.RateLimit.Requests, q.RateLimit.Window = limit.requestsPer(1)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := s.SetQuirks(q); err != nil {
		return nil, badRequest(err.Error())
	}
	return s.profile(), nil
}

func (f fields) requestsPer(least int) (requests int, window time.Duration) {
	requests, _ = f.Whole("requests", least, httpapi.MaxWhole)
	f.Require("requests")
	window, _ = f.Duration("window", 1, httpapi.MaxDuration)
	f.Require("window")
	f.RejectUnknown()
	return requests, window
}

type catalogue struct {
	Customers     []string `json:"customers"`
	Subscriptions []string `json:"subscriptions"`
	Products      []string `json:"products"`
}

func (s *Server) readCatalogue(c *controlCall) (any, error) { return s.catalogue(), c.Check() }

func (s *Server) catalogue() catalogue {
	c := s.Catalogue()
	list := func(entries []string) []string { return append([]string{}, entries...) }
	return catalogue{list(c.Customers), list(c.Subscriptions), list(c.Products)}
}

func (s *Server) changeCatalogue(c *controlCall) (any, error) {
	changed := Catalogue{c.Texts("customers"), c.Texts("subscriptions"), c.Texts("products")}
	if err := c.Check(); err != nil {
		return nil, err
	}
	s.SetCatalogue(changed)
	return s.catalogue(), nil
}
