package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const logInterval = time.Minute

// troubles are the platforms with one kind of error. They share a line in the log.
type troubles struct {
	logger        *slog.Logger
	message, over string

	mu      sync.Mutex
	errs    map[string]error
	next    time.Time
	pending bool
}

func newTroubles(c *Config, message, over string) *troubles {
	return &troubles{
		logger:  c.Logger.With("destination", c.Name),
		message: "relay: " + message,
		over:    "relay: " + over,
		errs:    make(map[string]error),
	}
}

func (t *troubles) set(platform string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.errs, platform)
	} else {
		t.errs[platform] = err
	}
}

func (t *troubles) log(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) == 0 {
		if t.pending {
			t.logger.Info(t.over)
			t.pending = false
		}
		return logInterval
	}
	if wait := t.next.Sub(now); wait > 0 {
		return wait
	}
	platform := slices.Min(slices.Collect(maps.Keys(t.errs)))
	t.logger.LogAttrs(context.Background(), slog.LevelWarn, t.message,
		slog.Int("platforms", len(t.errs)), slog.String("platform", platform), slog.Any("error", t.errs[platform]))
	t.next, t.pending = now.Add(logInterval), true
	return logInterval
}

func (t *troubles) platforms() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.errs))
}

func (t *troubles) join() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, platform := range slices.Sorted(maps.Keys(t.errs)) {
		errs = append(errs, fmt.Errorf("relay: platform %s: %w", platform, t.errs[platform]))
	}
	return errors.Join(errs...)
}
