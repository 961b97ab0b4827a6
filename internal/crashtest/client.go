package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Secret is the API key that the clients send.
const Secret = "key-of-the-crash-tests"

// patience is how long an answer may take; a server that hangs is a problem.
const patience = time.Minute

// Client sends the traffic of one sender. It is not safe for concurrent use.
type Client struct {
	history *History
	traffic *traffic
	http    *http.Client
	pending *request // sent, and not known what became of it
	answers func()
}

// NewClients returns n clients that record in h. Equal seeds make equal traffic.
// Whenever one got an answer it calls answered.
func NewClients(seed uint64, n int, h *History, answered func()) []*Client {
	clients := make([]*Client, n)
	for i := range clients {
		clients[i] = &Client{history: h, traffic: newTraffic(seed, i), http: newHTTPClient(), answers: answered}
	}
	return clients
}

func newHTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: patience}
}

// Settle sends what is pending until it is known what became of it, and says
// whether it is.
func (c *Client) Settle(ctx context.Context, address string) bool {
	for c.pending != nil && ctx.Err() == nil {
		if r := c.pending; !c.send(ctx, address, r) {
			return false
		}
	}
	return true
}

// Run sends requests until ctx ends or the server is gone.
func (c *Client) Run(ctx context.Context, address string) {
	for there := c.Settle(ctx, address); there && ctx.Err() == nil; {
		there = c.send(ctx, address, c.traffic.next())
	}
}

// attempts is how often a request is sent to a server that answers that it
// cannot store it now.
const attempts = 3

// send sends a request, again where that is safe, and says whether the server
// is there. What it does not know the end of is pending if it can be sent again.
func (c *Client) send(ctx context.Context, address string, r *request) bool {
	c.pending = nil
	c.history.begin(r)
	for range attempts {
		a, err := post(ctx, c.http, address, r)
		if err != nil || c.history.dark.Load() {
			c.history.lost(r)
			if r.repeatable() {
				c.pending = r
			}
			return false
		}
		again := c.record(r, a)
		if c.answers != nil {
			c.answers()
		}
		if !again {
			break
		}
	}
	return true
}

// answer is what a POST was answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func post(ctx context.Context, client *http.Client, address string, r *request) (answer, error) {
	// Its own context has no end: one that is cut off by the client is not what
	// these tests are about, and ctx says only that no more are to come.
	q, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, address+r.path(), strings.NewReader(r.body()))
	if err != nil {
		return answer{}, err
	}
	setHeaders(q, r.platform)
	q.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		q.Header.Set("Idempotency-Key", r.key)
	}
	return do(client, q)
}

func setHeaders(q *http.Request, platform string) {
	q.Header.Set("X-Api-Key", Secret)
	q.Header.Set("X-Platform-Id", platform)
}

func do(client *http.Client, q *http.Request) (answer, error) {
	w, err := client.Do(q)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(w.Body)
	_ = w.Body.Close() // what there was to read was read
	return answer{w.StatusCode, w.Header, body}, err
}

// record puts an answer into the history and says whether to send again.
func (c *Client) record(r *request, a answer) (again bool) {
	var body struct {
		Message string            `json:"message"`
		Events  []json.RawMessage `json:"charge_datas"`
	}
	if err := json.Unmarshal(a.body, &body); err != nil {
		c.history.wrong("answer %d is no JSON: %s", a.status, a.body)
		return false
	}
	switch {
	case a.status == http.StatusCreated:
		if !r.batch {
			body.Events = []json.RawMessage{bytes.TrimSpace(a.body)}
		}
		c.history.acknowledged(r, body.Events, a.header.Get("Idempotent-Replayed") == "true")
	case a.status == http.StatusConflict:
		c.history.conflict(r)
	case a.status >= http.StatusInternalServerError:
		return c.recordFailure(r, a, strings.Contains(body.Message, "nothing was stored"))
	default:
		c.history.wrong("%d: %s", a.status, a.body)
	}
	return false
}

// recordFailure takes what a 5xx says at its word.
func (c *Client) recordFailure(r *request, a answer, nothingStored bool) (again bool) {
	again = a.header.Get("Idempotency-Retryable") == "true"
	if again != (a.header.Get("Retry-After") != "") || again != (a.status == http.StatusServiceUnavailable) {
		c.history.wrong("%d has Idempotency-Retryable %q and Retry-After %q", a.status,
			a.header.Get("Idempotency-Retryable"), a.header.Get("Retry-After"))
	}
	switch {
	case nothingStored, again && !r.repeatable():
		c.history.refused(r, "failed")
	default:
		c.history.lost(r)
		if !again && r.repeatable() {
			c.history.wrong("a request that is safe to repeat was answered %d, not to be repeated", a.status)
		}
	}
	return again
}

// Follow reads what was stored since it was called last, as somebody does who
// bills from it: from cursor to cursor, over all crashes. It returns nil once it
// has seen everything.
func (h *History) Follow(ctx context.Context, address string) error {
	client := newHTTPClient()
	defer client.CloseIdleConnections()
	for _, platform := range Platforms() {
		h.mu.Lock()
		cursor := h.cursors[platform]
		h.mu.Unlock()
		for more := true; more; {
			page, err := list(ctx, client, address, platform, cursor)
			if err != nil {
				return err
			}
			if h.dark.Load() {
				return errors.New("nobody is there to read it")
			}
			cursor, more = page.Position, page.Next != nil
			h.mu.Lock()
			h.followed = append(h.followed, page.stored(platform)...)
			h.cursors[platform] = cursor
			h.mu.Unlock()
		}
	}
	return nil
}

// CheckFollowed is Check of what Follow has seen.
func (h *History) CheckFollowed() error {
	h.mu.Lock()
	followed := h.followed[:len(h.followed):len(h.followed)]
	h.mu.Unlock()
	return h.Check(followed)
}

// List reads everything that is stored.
func List(ctx context.Context, address string) ([]Stored, error) {
	h := NewHistory()
	err := h.Follow(ctx, address)
	return h.followed, err
}

// page is an answer to a listing.
type page struct {
	Data     []json.RawMessage `json:"data"`
	Next     *string           `json:"next"`
	Position string            `json:"position"`
}

func (p page) stored(platform string) []Stored {
	events := make([]Stored, len(p.Data))
	for i, text := range p.Data {
		e, _ := parse(text) // whoever checks parses it again
		events[i] = Stored{platform, e.ID, string(text)}
	}
	return events
}

func list(ctx context.Context, client *http.Client, address, platform, cursor string) (page, error) {
	query := url.Values{"order": {"asc"}, "limit": {"1000"}}
	if cursor != "" {
		query.Set("after", cursor)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/v1/ingest/charge-data?"+query.Encode(), nil)
	if err != nil {
		return page{}, err
	}
	setHeaders(q, platform)
	a, err := do(client, q)
	if err != nil {
		return page{}, err
	}
	if a.status != http.StatusOK {
		return page{}, fmt.Errorf("list: %d: %s", a.status, a.body)
	}
	var p page
	return p, json.Unmarshal(a.body, &p)
}
