package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"example.com/chargeingest/chargeclient"
)

// Secret is the API key of the clients.
const Secret = "key-of-the-crash-tests"

const responseTimeout = time.Minute

// Client sends generated requests. It is not safe for concurrent use.
type Client struct {
	history    *History
	traffic    *traffic
	http       *http.Client
	pending    *request // outcome unknown
	onResponse func()
}

// NewClients returns n clients. Equal seeds make equal requests. onResponse may be nil.
func NewClients(seed uint64, n int, h *History, onResponse func()) []*Client {
	clients := make([]*Client, n)
	for i := range clients {
		clients[i] = &Client{history: h, traffic: newTraffic(seed, i), http: newHTTPClient(), onResponse: onResponse}
	}
	return clients
}

func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: responseTimeout}
}

// Resolve retries the pending request and reports whether the server is reachable.
func (c *Client) Resolve(ctx context.Context, address string) bool {
	for c.pending != nil && ctx.Err() == nil {
		if r := c.pending; !c.send(ctx, address, r) {
			return false
		}
	}
	return true
}

// Run sends requests until ctx ends or the server is unreachable.
func (c *Client) Run(ctx context.Context, address string) {
	for reachable := c.Resolve(ctx, address); reachable && ctx.Err() == nil; {
		reachable = c.send(ctx, address, c.traffic.next())
	}
}

const maxAttempts = 3

func (c *Client) send(ctx context.Context, address string, r *request) bool {
	c.pending = nil
	c.history.begin(r)
	for range maxAttempts {
		resp, err := post(ctx, c.http, address, r)
		if err != nil || c.history.ignoring.Load() {
			c.history.outcomeUnknown(r)
			if r.safeToRetry() {
				c.pending = r
			}
			return false
		}
		retry := c.record(r, resp)
		if c.onResponse != nil {
			c.onResponse()
		}
		if !retry {
			break
		}
	}
	return true
}

type response struct {
	status int
	header http.Header
	body   []byte
}

func post(ctx context.Context, client *http.Client, address string, r *request) (response, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, address+r.path(), strings.NewReader(r.body()))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("X-Api-Key", Secret)
	req.Header.Set("X-Platform-Id", r.platform)
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return response{resp.StatusCode, resp.Header, body}, err
}

func (c *Client) record(r *request, resp response) (retry bool) {
	var body struct {
		Message string            `json:"message"`
		Events  []json.RawMessage `json:"charge_datas"`
	}
	if err := json.Unmarshal(resp.body, &body); err != nil {
		c.history.report("response %d is not JSON: %s", resp.status, resp.body)
		return false
	}
	switch {
	case resp.status == http.StatusCreated:
		if !r.batch {
			body.Events = []json.RawMessage{bytes.TrimSpace(resp.body)}
		}
		c.history.acknowledged(r, body.Events, resp.header.Get("Idempotent-Replayed") == "true")
	case resp.status == http.StatusConflict:
		c.history.conflict(r)
	case resp.status >= http.StatusInternalServerError:
		return c.recordFailure(r, resp, strings.Contains(body.Message, "nothing was stored"))
	default:
		c.history.report("%d: %s", resp.status, resp.body)
	}
	return false
}

func (c *Client) recordFailure(r *request, resp response, nothingStored bool) (retry bool) {
	retry = resp.header.Get("Idempotency-Retryable") == "true"
	if retry != (resp.header.Get("Retry-After") != "") || retry != (resp.status == http.StatusServiceUnavailable) {
		c.history.report("%d has Idempotency-Retryable %q and Retry-After %q", resp.status,
			resp.header.Get("Idempotency-Retryable"), resp.header.Get("Retry-After"))
	}
	switch {
	case nothingStored, retry && !r.safeToRetry():
		c.history.notStored(r, "failed")
	default:
		c.history.outcomeUnknown(r)
		if !retry && r.safeToRetry() {
			c.history.report("a request that is safe to retry got %d without Idempotency-Retryable", resp.status)
		}
	}
	return retry
}

// Follow lists the events stored since its last call. The cursors survive crashes.
func (h *History) Follow(ctx context.Context, address string) error {
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	for _, platform := range Platforms() {
		if err := h.followPlatform(ctx, client, address, platform); err != nil {
			return err
		}
	}
	return nil
}

func (h *History) followPlatform(ctx context.Context, client *http.Client, address, platform string) error {
	reader, err := chargeclient.New(chargeclient.Config{
		URL: address, APIKey: Secret, Platform: platform, HTTPClient: client, RetryTimeout: time.Nanosecond,
	})
	if err != nil {
		return err
	}
	h.mu.Lock()
	cursor := h.cursors[platform]
	h.mu.Unlock()
	for more := true; more; {
		page, err := reader.List(ctx, chargeclient.Query{Ascending: true, Limit: 1000, After: cursor})
		if err != nil {
			return err
		}
		if h.ignoring.Load() {
			return errors.New("responses are ignored")
		}
		cursor, more = page.Position, page.Next != ""
		h.mu.Lock()
		for _, e := range page.Events {
			h.followed = append(h.followed, Stored{platform, e.ID, string(e.JSON)})
		}
		h.cursors[platform] = cursor
		h.mu.Unlock()
	}
	return nil
}

// CheckFollowed checks the events that Follow returned.
func (h *History) CheckFollowed() error {
	h.mu.Lock()
	followed := h.followed[:len(h.followed):len(h.followed)]
	h.mu.Unlock()
	return h.Check(followed)
}

// List returns all stored events.
func List(ctx context.Context, address string) ([]Stored, error) {
	h := NewHistory()
	err := h.Follow(ctx, address)
	return h.followed, err
}
