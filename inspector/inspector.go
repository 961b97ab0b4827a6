// Package inspector serves a web page with the requests that a charge event endpoint received,
// why it rejected some, and the events that it stored.
package inspector

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/panics"
	"example.com/chargeingest/relay"
)

// Config configures an [Inspector]. Reader and Authorizer are required.
type Config struct {
	Reader chargeingest.EventReader

	// Authorizer authenticates the viewers, who need PermissionView and see one platform
	// at a time.
	Authorizer chargeingest.Authorizer

	// Stats, if set, shows the state of the store to every viewer.
	Stats chargeingest.StatsReporter

	// MaxRequests and MaxBytes limit the recorded requests. The platform with most memory loses
	// its oldest ones first. Requests in progress have another MaxBytes. Defaults: 10,000 and
	// 32 MiB.
	MaxRequests int
	MaxBytes    int64

	// MaxBodyBytes limits the recorded part of one body and of one response. Default: 256
	// KiB.
	MaxBodyBytes int

	// MaxStreams limits the open pages with live updates. One platform gets three quarters.
	// Others poll. Default: 64.
	MaxStreams int

	// ShowUnauthenticated shows requests without an identified caller to every viewer.
	ShowUnauthenticated bool

	// Sandbox, if set, is the control API of a test server, shown on a tab.
	Sandbox http.Handler

	// Relay, if set, adds a tab with deliveries. Viewers need PermissionIngest to retry or skip
	// events.
	Relay relay.Ledger

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Reader == nil:
		return c, errors.New("inspector: Config.Reader is required")
	case c.Authorizer == nil:
		return c, errors.New("inspector: Config.Authorizer is required")
	case c.MaxRequests < 0:
		return c, errors.New("inspector: Config.MaxRequests is negative")
	case c.MaxBytes < 0:
		return c, errors.New("inspector: Config.MaxBytes is negative")
	case c.MaxBodyBytes < 0:
		return c, errors.New("inspector: Config.MaxBodyBytes is negative")
	case c.MaxStreams < 0:
		return c, errors.New("inspector: Config.MaxStreams is negative")
	}
	if c.MaxRequests == 0 {
		c.MaxRequests = 10_000
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 32 << 20
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 256 << 10
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 64
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

// Inspector records requests and serves the page.
type Inspector struct {
	cfg      Config
	requests *requestLog
	api      *api
	pool     bufferPool
	held     atomic.Int64 // bytes of bodies and responses in progress
}

// New returns an inspector. Errors name an invalid field.
func New(cfg Config) (*Inspector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	i := &Inspector{cfg: cfg, requests: &requestLog{maxRequests: cfg.MaxRequests, maxBytes: cfg.MaxBytes}}
	if i.api, err = newAPI(cfg, i.requests); err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Inspector) now() (t time.Time) {
	panics.Ignore(func() { t = i.cfg.Now() })
	return t
}
