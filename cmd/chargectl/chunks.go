package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxChunkBytes = 3 << 20 // before the last line

	// maxChunkEvents limits events without a reference, and invalid lines.
	maxChunkEvents = 1000
)

type event struct {
	line
	idempotencyKey string // empty if the event has a reference
}

// chunk is a part of a file: one batch.
type chunk struct {
	referenced, unreferenced []event
	invalid                  []line
	first, last              int // line numbers
}

func (c *chunk) events() int { return len(c.referenced) + len(c.unreferenced) + len(c.invalid) }

type chunkReader struct {
	lines    *lineReader
	maxBatch int
	keys     *idempotencyKeys
}

func (r *chunkReader) next() (*chunk, error) {
	c := &chunk{}
	for size := 0; size < maxChunkBytes && len(c.referenced) < r.maxBatch &&
		max(len(c.unreferenced), len(c.invalid)) < maxChunkEvents; {
		l, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		size += len(l.text)
		if c.last = l.number; c.first == 0 {
			c.first = l.number
		}
		switch {
		case l.invalid != nil:
			c.invalid = append(c.invalid, l)
		case hasReference(l.text):
			c.referenced = append(c.referenced, event{line: l})
		default:
			c.unreferenced = append(c.unreferenced, event{l, r.keys.next(l.text)})
		}
	}
	if c.events() == 0 {
		return nil, io.EOF
	}
	return c, nil
}

type chunkResult struct {
	chunk *chunk
	err   error
}

func (r *chunkReader) readAhead(ctx context.Context) <-chan chunkResult {
	results := make(chan chunkResult)
	go func() {
		for {
			c, err := r.next()
			select {
			case results <- chunkResult{c, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return results
}

func hasReference(text []byte) bool {
	var event struct {
		Reference string `json:"reference"`
	}
	return json.Unmarshal(text, &event) == nil && event.Reference != ""
}

// idempotencyKeys makes keys that depend on no other lines than equal ones before.
type idempotencyKeys struct {
	loadID string
	seen   map[[sha256.Size]byte]uint32
}

func newIdempotencyKeys(loadID string) *idempotencyKeys {
	return &idempotencyKeys{loadID: loadID, seen: make(map[[sha256.Size]byte]uint32)}
}

func (k *idempotencyKeys) next(text []byte) string {
	event := jsontext.Value(text).Clone()
	// Numbers keep their digits.
	_ = event.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false))
	content := sha256.Sum256(event)
	n := k.seen[content]
	k.seen[content] = n + 1
	key := sha256.Sum256(fmt.Appendf(nil, "chargeingest load %q\nevent %x, after %d equal ones\n", k.loadID, content, n))
	return "load-" + hex.EncodeToString(key[:])
}
