package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/relay"
)

const maxRelayResponse = 64 << 20

func (c *relayCommand) call(ctx context.Context, method, path string, query url.Values, body, result any) error {
	target := strings.TrimSuffix(c.server.URL, "/") + "/relay/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, content) //nolint:gosec // the user names the server
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.server.APIKey != "" {
		r.Header.Set("X-Api-Key", c.server.APIKey)
	} else {
		r.Header.Set("Authorization", "Bearer "+c.server.Token)
	}
	if c.server.Platform != "" {
		r.Header.Set("X-Platform-Id", c.server.Platform)
	}
	transport := c.transport
	if c.server.socket != "" {
		transport = newTransport(c.server.socket)
	}
	client := http.Client{Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // would get the key
	resp, err := client.Do(r) //nolint:gosec // the user names the server
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRelayResponse))
	if err != nil {
		return fmt.Errorf("read the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return relayError(resp.StatusCode, path, text)
	}
	if err := json.Unmarshal(text, result); err != nil {
		return fmt.Errorf("the response is not from a relay: %w", err)
	}
	return nil
}

func relayError(status int, path string, body []byte) error {
	var e struct{ Code, Message string }
	isAPI := json.Unmarshal(body, &e) == nil && e.Code != ""
	switch {
	case status == http.StatusNotFound && (path == "status" || !isAPI):
		return errors.New("the server has no relay at this URL")
	case !isAPI:
		return fmt.Errorf("%d %s", status, http.StatusText(status))
	}
	return fmt.Errorf("%d %s: %s", status, e.Code, e.Message)
}

func decodeEach[T any](texts []json.RawMessage) ([]T, error) {
	list := make([]T, len(texts))
	for i, text := range texts {
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return nil, fmt.Errorf("the response is not from a relay: %w", err)
		}
	}
	return list, nil
}

func (c *relayCommand) streams(ctx context.Context) ([]relay.Status, []json.RawMessage, error) {
	var found struct{ Streams []json.RawMessage }
	if err := c.call(ctx, http.MethodGet, "status", nil, nil, &found); err != nil {
		return nil, nil, err
	}
	streams, err := decodeEach[relay.Status](found.Streams)
	if err != nil || c.destination == "" {
		return streams, found.Streams, err
	}
	for i, s := range streams {
		if s.Destination == c.destination {
			return streams[i : i+1], found.Streams[i : i+1], nil
		}
	}
	return nil, nil, fmt.Errorf("there is no destination %q; there are: %s", c.destination, destinations(streams))
}

func destinations(streams []relay.Status) string {
	var names []string
	for _, s := range streams {
		names = append(names, strconv.Quote(s.Destination))
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}

func (c *relayCommand) chooseDestination(ctx context.Context) error {
	if c.destination != "" {
		return nil
	}
	streams, _, err := c.streams(ctx)
	switch {
	case err != nil:
		return err
	case len(streams) == 0:
		return errors.New("no relay has delivered events of this platform")
	case len(streams) > 1:
		return cli.Usagef("%s: -destination must be given; there are: %s", c.name, destinations(streams))
	}
	c.destination = streams[0].Destination
	return nil
}

func (c *relayCommand) eachPage(ctx context.Context, visit func([]relay.Entry, []json.RawMessage) error) error {
	query := url.Values{"destination": {c.destination}, "state": {cmp.Or(c.state, string(relay.Dead))}, "limit": {"200"}}
	if c.code != "" {
		query.Set("code", c.code)
	}
	for {
		entries, texts, next, err := c.entries(ctx, query)
		if err != nil {
			return err
		}
		if err := visit(entries, texts); err != nil || next == "" {
			return err
		}
		query.Set("after", next)
	}
}

func (c *relayCommand) entries(ctx context.Context, query url.Values) (entries []relay.Entry, texts []json.RawMessage, next string, err error) {
	var page struct {
		Entries []json.RawMessage
		Next    string
	}
	if err = c.call(ctx, http.MethodGet, "entries", query, nil, &page); err != nil {
		return nil, nil, "", err
	}
	entries, err = decodeEach[relay.Entry](page.Entries)
	return entries, page.Entries, page.Next, err
}

func (c *relayCommand) attempts(ctx context.Context) error {
	streams, _, err := c.streams(ctx)
	if err != nil {
		return err
	}
	for _, s := range streams {
		query := url.Values{"destination": {s.Destination}, "event_id": {c.ids[0]}}
		entries, texts, _, err := c.entries(ctx, query)
		if err != nil {
			return err
		}
		if c.asJSON {
			err = c.printJSON(texts)
		} else {
			err = c.print(attemptsTable(s.Destination, entries))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type resolveBody struct {
	Destination string       `json:"destination"`
	Action      relay.Action `json:"action"`
	EventIDs    []string     `json:"event_ids,omitempty"`
	State       string       `json:"state,omitempty"`
	Code        string       `json:"code,omitempty"`
}

func (c *relayCommand) resolve(ctx context.Context, action relay.Action) error {
	if err := c.chooseDestination(ctx); err != nil {
		return err
	}
	body := resolveBody{Destination: c.destination, Action: action, Code: c.code}
	if action != relay.Retire && len(c.ids) == 0 {
		body.State = cmp.Or(c.state, string(relay.Dead))
	}
	bodies := []resolveBody{body}
	if len(c.ids) > 0 {
		const maxIDs = 1000
		bodies = nil
		for ids := range slices.Chunk(c.ids, maxIDs) {
			body.EventIDs = ids
			bodies = append(bodies, body)
		}
	}
	var changed int64
	for _, b := range bodies {
		var done struct{ Changed int64 }
		if err := c.call(ctx, http.MethodPost, "resolve", nil, b, &done); err != nil {
			return errors.Join(c.printPartly(action, changed), err)
		}
		changed += done.Changed
	}
	if err := c.printChanged(action, changed); err != nil {
		return err
	}
	if n := int64(len(c.ids)) - changed; n > 0 {
		return fmt.Errorf("not changed: %d of %s; %s has no entry for them, or not in a state for this", n, plural(len(c.ids), "event"), c.destination)
	}
	return nil
}
