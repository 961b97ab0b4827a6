// Package chargeclient is a client of the charge event endpoint. It retries requests when
// that cannot store an event twice.
package chargeclient

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"example.com/chargeingest"
)

// Config configures a [Client]. URL and a credential are required.
type Config struct {
	// URL is the base URL of the endpoint, with the prefix under which it is mounted.
	URL string

	// Exactly one of APIKey and Token is required.
	APIKey string
	Token  string // sent as a Bearer token

	// Platform is sent as x-platform-id. Default: none, for the credential's own platform.
	Platform string

	// HTTPClient sends the requests, except that redirects are never followed. Its Timeout
	// limits each attempt; 0 means two minutes.
	HTTPClient *http.Client

	// RetryTimeout limits the time after the first failure of a request in which it is
	// retried. Default: two minutes. If it is negative, only the context ends the retries.
	RetryTimeout time.Duration

	// MaxBatchEvents and MaxBatchBytes limit the requests of SendBatch. Default: 500 events
	// and 3 MiB.
	MaxBatchEvents int
	MaxBatchBytes  int

	// PollInterval is the pause of Follow when there are no more events. Default: one second.
	PollInterval time.Duration

	// OnRetry, if set, is called before the pause after a failed attempt, from the goroutine
	// of the call.
	OnRetry func(Retry)
}

// Retry describes a failed attempt that is going to be repeated.
type Retry struct {
	Err     error // an [*Error]
	Attempt int   // from 1
	Pause   time.Duration
}

// Client is safe for concurrent use.
type Client struct {
	cfg Config
}

// New returns a client. Errors name the invalid field and contain no credential.
func New(cfg Config) (*Client, error) { return &Client{cfg}, nil }

// Event is a stored event.
type Event struct {
	chargeingest.ChargeEvent

	// JSON is the event as the server sent it, without white space.
	JSON json.RawMessage
}

// Result is the result of sending events.
type Result struct {
	Events   []Event // in the order of the request
	Replayed int     // how many of them had been stored before
}

// Send stores an event.
func (c *Client) Send(ctx context.Context, e chargeingest.ChargeEvent) (stored Event, replayed bool, err error) {
	return Event{}, false, errSkeleton
}

// SendBatch stores events.
func (c *Client) SendBatch(ctx context.Context, events []chargeingest.ChargeEvent) (Result, error) {
	return Result{}, errSkeleton
}

// Request is one request with a batch of events.
type Request struct {
	// Events are sent unchanged. Each must be a JSON value.
	Events []json.RawMessage

	// IdempotencyKey has 1 to 255 visible ASCII characters. Default: a random one if an event
	// has no reference, otherwise none.
	IdempotencyKey string
}

// SendJSON stores the events of exactly one request.
func (c *Client) SendJSON(ctx context.Context, r Request) (Result, error) {
	return Result{}, errSkeleton
}

// Get returns a stored event.
func (c *Client) Get(ctx context.Context, id string) (Event, error) { return Event{}, errSkeleton }

// Query selects events. Empty fields match all events.
type Query struct {
	Reference                        string
	CustomerID                       string
	CustomerReference                string
	PricingPlanSubscriptionID        string
	PricingPlanSubscriptionReference string
	ProductItemID                    string

	From, To  time.Time // bound the timestamp: From ≤ t < To
	After     string    // the Next or Position of an earlier page
	Ascending bool      // in storage order; default: the last stored event first
	Limit     int       // of the page, from 1 to 1000; default: the server's
}

// Page is a part of a listing.
type Page struct {
	Events   []Event
	Next     string // Query.After of the next page, or empty
	Position string // of ascending pages: Query.After for events stored later
}

// List returns a page of stored events.
func (c *Client) List(ctx context.Context, q Query) (Page, error) { return Page{}, errSkeleton }

// Follow calls f with each page of events.
func (c *Client) Follow(ctx context.Context, from string, f func(Page) error) error {
	return errSkeleton
}

// Position returns the position after the last stored event.
func (c *Client) Position(ctx context.Context) (string, error) { return "", errSkeleton }
