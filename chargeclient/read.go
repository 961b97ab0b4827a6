package chargeclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/chargeingest"
)

// Event is a stored event.
type Event struct {
	chargeingest.ChargeEvent

	JSON json.RawMessage // as the server sent it, compact
}

// Query selects events by its non-empty fields.
type Query struct {
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	From, To  time.Time // From ≤ timestamp < To
	After     string    // Next or Position of an earlier page
	Ascending bool      // in storage order; default: newest first
	Limit     int       // 1 to 1000; default: 50
}

const maxPageEvents = 1000

// Page is part of a listing.
type Page struct {
	Events   []Event
	Next     string // Query.After of the next page, or empty
	Position string // Query.After for later events, if ascending
}

// Get returns a stored event, or an [*Error] with status 404.
func (c *Client) Get(ctx context.Context, id string) (e Event, err error) {
	if id == "" || id == "." || id == ".." {
		return Event{}, errors.New("chargeclient: the id is not that of an event")
	}
	err = c.do(ctx, &request{
		path: eventPath + "/" + url.PathEscape(id),
		decode: func(_ http.Header, body []byte) (err error) {
			if e, err = decodeEvent(body); err == nil && e.ID != id {
				err = errNotEndpoint
			}
			return err
		},
	}, c.cfg.RetryTimeout)
	if err != nil {
		return Event{}, err
	}
	return e, nil
}

// List returns a page of stored events.
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	return c.list(ctx, q, c.cfg.RetryTimeout)
}

func (c *Client) list(ctx context.Context, q Query, timeout time.Duration) (page Page, err error) {
	err = c.do(ctx, &request{
		path: eventPath, query: q.values(),
		decode: func(_ http.Header, body []byte) (err error) {
			if page, err = decodePage(body); err != nil {
				return err
			}
			isRepeated := page.Next != "" && page.Next == q.After
			if isRepeated || q.Ascending && (page.Position == "" || len(page.Events) > 0 && page.Position == q.After) {
				return errNotEndpoint
			}
			return nil
		},
	}, timeout)
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

func (q *Query) values() url.Values {
	v := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("reference", q.Reference)
	set("customer_id", q.CustomerID)
	set("customer_reference", q.CustomerReference)
	set("pricing_plan_subscription_id", q.PricingPlanSubscriptionID)
	set("pricing_plan_subscription_reference", q.PricingPlanSubscriptionReference)
	set("product_item_id", q.ProductItemID)
	if !q.From.IsZero() {
		set("from", q.From.Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		set("to", q.To.Format(time.RFC3339Nano))
	}
	set("after", q.After)
	if q.Ascending {
		set("order", "asc")
	}
	if q.Limit != 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

// Follow calls f with each event after the position from exactly once, in storage order, and
// waits for new ones. An empty position is the beginning. Follow ends if ctx ends, f returns an
// error, or a request fails that is not retryable.
func (c *Client) Follow(ctx context.Context, from string, f func(Page) error) error {
	q := Query{After: from, Ascending: true, Limit: maxPageEvents}
	for {
		page, err := c.list(ctx, q, -1)
		if err != nil {
			return err
		}
		if page.Position != q.After {
			if err := f(page); err != nil {
				return err
			}
		}
		q.After = page.Position
		if page.Next == "" {
			if err := sleep(ctx, c.cfg.PollInterval); err != nil {
				return err
			}
		}
	}
}

// Position returns the position after the last stored event.
func (c *Client) Position(ctx context.Context) (string, error) {
	page, err := c.List(ctx, Query{Reference: rand.Text(), Ascending: true, Limit: 1})
	return page.Position, err
}

func decodePage(body []byte) (Page, error) {
	var page struct {
		Data     []json.RawMessage `json:"data"`
		Next     *string           `json:"next"`
		Position string            `json:"position"`
	}
	if json.Unmarshal(body, &page) != nil || page.Data == nil {
		return Page{}, errNotEndpoint
	}
	p := Page{Position: page.Position}
	if page.Next != nil {
		p.Next = *page.Next
	}
	var err error
	p.Events, err = decodeEvents(page.Data)
	return p, err
}

func decodeEvents(texts []json.RawMessage) ([]Event, error) {
	events := make([]Event, len(texts))
	for i, text := range texts {
		var err error
		if events[i], err = decodeEvent(text); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func decodeEvent(text []byte) (Event, error) {
	var e Event
	var compact bytes.Buffer
	if e.UnmarshalJSON(text) != nil || e.ID == "" || json.Compact(&compact, text) != nil {
		return Event{}, errNotEndpoint
	}
	e.JSON = compact.Bytes()
	return e, nil
}
