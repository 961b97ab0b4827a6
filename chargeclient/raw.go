package chargeclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/chargeingest/internal/jsontree"
)

// RawRequest is a request with valid JSON.
type RawRequest struct {
	Platform   string // default: Config.Platform
	Events     []json.RawMessage
	References []string // of the events, empty if null

	IdempotencyKey string // required if a reference is empty
}

// SendRaw is a cheaper [Client.SendJSON] that decodes no events. A single event goes to the
// route for one.
func (c *Client) SendRaw(ctx context.Context, r RawRequest) (replayed int, err error) {
	switch {
	case len(r.Events) == 0 || len(r.Events) != len(r.References):
		return 0, errors.New("chargeclient: RawRequest needs an event, and a reference for each event")
	case !isPlatform(r.Platform):
		return 0, errors.New("chargeclient: RawRequest.Platform must have no control characters, and no space at its start or end")
	case r.IdempotencyKey == "" && slices.Contains(r.References, ""):
		return 0, errors.New("chargeclient: RawRequest.IdempotencyKey is required for events without reference")
	}
	req := &request{path: batchPath, key: r.IdempotencyKey, platform: r.Platform}
	read := readBatch
	if len(r.Events) == 1 {
		req.path, req.body, read = eventPath, r.Events[0], readEvent
	} else {
		req.body = batchBody(r.Events)
	}
	req.decode = func(h http.Header, body []byte) error {
		stored := make([]string, 0, len(r.References))
		d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true))
		if err := read(d, &stored); err != nil {
			return errNotEndpoint
		}
		if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
			return errNotEndpoint
		}
		replayed = replayedEvents(h, len(stored))
		return checkReferences(stored, r.References)
	}
	if err := c.do(ctx, req, c.cfg.RetryTimeout); err != nil {
		return 0, err
	}
	return replayed, nil
}

func readBatch(d *jsontext.Decoder, references *[]string) error {
	return jsontree.Members(d, func(name jsontext.Value) error {
		if string(name) != `"`+batchField+`"` {
			return d.SkipValue()
		}
		if d.PeekKind() != '[' {
			return errNotEndpoint
		}
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		for d.PeekKind() == '{' {
			if err := readEvent(d, references); err != nil {
				return err
			}
		}
		_, err := d.ReadToken()
		return err
	})
}

func readEvent(d *jsontext.Decoder, references *[]string) error {
	id, reference := "", ""
	err := jsontree.Members(d, func(name jsontext.Value) (err error) {
		switch string(name) {
		case `"id"`:
			id, err = readText(d)
		case `"reference"`:
			reference, err = readText(d)
		default:
			err = d.SkipValue()
		}
		return err
	})
	if err == nil && id == "" {
		err = errNotEndpoint
	}
	*references = append(*references, reference)
	return err
}

func readText(d *jsontext.Decoder) (string, error) {
	token, err := d.ReadToken()
	switch {
	case err != nil:
		return "", err
	case token.Kind() == 'n':
		return "", nil
	case token.Kind() != '"':
		return "", errNotEndpoint
	}
	return token.String(), nil
}
