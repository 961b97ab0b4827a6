// Package eventid makes the ids of charge events. Stores need it; the handler
// takes ids as they come.
package eventid

import (
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Prefix starts the id of every charge event.
const Prefix = "chda_"

// Generator makes the ids of charge events: Prefix and a ULID
// (https://github.com/ulid/spec), whose 26 characters sort by time. Safe for
// concurrent use.
type Generator struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    ulid.ULID
}

// NewGenerator returns a generator that draws randomness from entropy, nil for
// crypto/rand.Reader. Its ids come after last, an id or empty.
func NewGenerator(entropy io.Reader, last string) (*Generator, error) {
	if entropy == nil {
		entropy = rand.Reader
	}
	g := &Generator{entropy: ulid.Monotonic(entropy, 0)}
	if last == "" {
		return g, nil
	}
	if len(last) != len(Prefix)+ulid.EncodedSize || last[:len(Prefix)] != Prefix {
		return nil, fmt.Errorf("not the id of a charge event: %q", last)
	}
	var err error
	if g.last, err = ulid.ParseStrict(last[len(Prefix):]); err != nil {
		return nil, fmt.Errorf("not the id of a charge event: %q: %w", last, err)
	}
	return g, nil
}

// Next returns an id of the time t, to the millisecond, that is greater than
// every id before it: where t is not later than the last id's time, that time
// is used.
func (g *Generator) Next(t time.Time) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ms := max(milliseconds(t), g.last.Time())
	id, err := ulid.New(ms, g.entropy)
	if err != nil || id.Compare(g.last) <= 0 {
		// The random part of this millisecond is used up, or was in use
		// before this generator: the next one has room.
		if id, err = ulid.New(ms+1, g.entropy); err != nil {
			return "", fmt.Errorf("make an id: %w", err)
		}
	}
	g.last = id
	return Prefix + id.String(), nil
}

// First returns the smallest id of the time t, to the millisecond: ids made
// before t sort below it.
func First(t time.Time) string {
	var id ulid.ULID
	// SetTime refuses only times after the year 10889.
	_ = id.SetTime(milliseconds(t))
	return Prefix + id.String()
}

// milliseconds is the time part of an id; one before 1970 counts as 1970.
func milliseconds(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))
}
