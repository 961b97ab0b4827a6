package storekit

import (
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// IDPrefix begins every id.
const IDPrefix = "chda_"

// IDGenerator generates the ids of charge events: IDPrefix and a ULID
// (https://github.com/ulid/spec), which sorts by time. It is safe for concurrent use.
type IDGenerator struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    ulid.ULID
}

// NewIDGenerator reads from entropy, by default crypto/rand.Reader. All ids are greater than
// last, the newest existing id, unless it is empty.
func NewIDGenerator(entropy io.Reader, last string) (*IDGenerator, error) {
	if entropy == nil {
		entropy = rand.Reader
	}
	g := &IDGenerator{entropy: ulid.Monotonic(entropy, 0)}
	if last == "" {
		return g, nil
	}
	var err error
	if g.last, err = parseID(last); err != nil {
		return nil, err
	}
	return g, nil
}

func parseID(id string) (ulid.ULID, error) {
	if len(id) != len(IDPrefix)+ulid.EncodedSize || id[:len(IDPrefix)] != IDPrefix {
		return ulid.ULID{}, fmt.Errorf("not a charge event id: %q", id)
	}
	parsed, err := ulid.ParseStrict(id[len(IDPrefix):])
	if err != nil {
		return ulid.ULID{}, fmt.Errorf("not a charge event id: %q: %w", id, err)
	}
	return parsed, nil
}

// IDTime returns the time of an id, in UTC and whole milliseconds: when the event was received,
// or the time of the id before if that is later.
func IDTime(id string) (time.Time, error) {
	parsed, err := parseID(id)
	return parsed.Timestamp().UTC(), err
}

// Next returns an id for the time t, in milliseconds, that is greater than every earlier one.
// If t is before the time of the last id, Next uses that time.
func (g *IDGenerator) Next(t time.Time) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ms := max(milliseconds(t), g.last.Time())
	id, err := ulid.New(ms, g.entropy)
	if err != nil || id.Compare(g.last) <= 0 {
		// This millisecond has no random parts left.
		if id, err = ulid.New(ms+1, g.entropy); err != nil {
			return "", fmt.Errorf("make event id: %w", err)
		}
	}
	g.last = id
	return IDPrefix + id.String(), nil
}

// LastTime returns the time of the last id, or zero.
func (g *IDGenerator) LastTime() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last.IsZero() {
		return time.Time{}
	}
	return g.last.Timestamp()
}

// FirstID returns the smallest id for the time t, in milliseconds.
func FirstID(t time.Time) string {
	var id ulid.ULID
	// SetTime fails only for times after the year 10889.
	_ = id.SetTime(milliseconds(t))
	return IDPrefix + id.String()
}

// Times before 1970 count as 1970.
func milliseconds(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))
}
