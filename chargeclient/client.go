// Package chargeclient is a client of the charge event endpoint. It retries a request
// exactly when that cannot store an event twice.
//
// Give each event a reference: then a call that failed can be made again, too.
package chargeclient

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
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

	// RetryTimeout is how long a request is retried after its first failure. Default: two
	// minutes. If it is negative, only the context ends the retries.
	RetryTimeout time.Duration

	// MaxBatchEvents and MaxBatchBytes limit the requests of SendBatch. Default: 500 events
	// and 3 MiB. A larger event is sent alone.
	MaxBatchEvents int
	MaxBatchBytes  int

	// PollInterval is the pause of Follow after the last event. Default: one second.
	PollInterval time.Duration

	// OnRetry, if set, is called before each pause, by the goroutine of the call.
	OnRetry func(Retry)
}

// Retry describes a failed attempt that will be repeated.
type Retry struct {
	Err     *Error
	Attempt int // from 1
	Pause   time.Duration
}

const (
	attemptTimeout      = 2 * time.Minute // longer than the server's own timeouts
	defaultRetryTimeout = 2 * time.Minute
	defaultBatchEvents  = 500
	defaultBatchBytes   = 3 << 20
	defaultPollInterval = time.Second
)

// Client is safe for concurrent use.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	header http.Header // of every request
}

// New returns a client. Its errors name the invalid field and contain no credential.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	switch {
	case err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		// The text of err has the URL, which may contain a password.
		return nil, errors.New("chargeclient: Config.URL must be an http or https URL with a host, and without user, query and fragment")
	case (cfg.APIKey == "") == (cfg.Token == ""):
		return nil, errors.New("chargeclient: exactly one of Config.APIKey and Config.Token must be set")
	case !isVisibleASCII(cfg.APIKey):
		return nil, errors.New("chargeclient: Config.APIKey must be visible ASCII characters without spaces")
	case !isVisibleASCII(cfg.Token):
		return nil, errors.New("chargeclient: Config.Token must be visible ASCII characters without spaces")
	case strings.ContainsFunc(cfg.Platform, isControl) || strings.TrimSpace(cfg.Platform) != cfg.Platform:
		return nil, errors.New("chargeclient: Config.Platform must have no control characters, and no space at its start or end")
	case cfg.MaxBatchEvents < 0:
		return nil, errors.New("chargeclient: Config.MaxBatchEvents must not be negative")
	case cfg.MaxBatchBytes < 0:
		return nil, errors.New("chargeclient: Config.MaxBatchBytes must not be negative")
	case cfg.PollInterval < 0:
		return nil, errors.New("chargeclient: Config.PollInterval must not be negative")
	}
	setDefault(&cfg.RetryTimeout, defaultRetryTimeout)
	setDefault(&cfg.MaxBatchEvents, defaultBatchEvents)
	setDefault(&cfg.MaxBatchBytes, defaultBatchBytes)
	setDefault(&cfg.PollInterval, defaultPollInterval)
	c := &Client{cfg: cfg, base: base, http: newHTTPClient(cfg.HTTPClient), header: make(http.Header)}
	if cfg.APIKey != "" {
		c.header.Set("X-Api-Key", cfg.APIKey)
	} else {
		c.header.Set("Authorization", "Bearer "+cfg.Token)
	}
	if cfg.Platform != "" {
		c.header.Set("X-Platform-Id", cfg.Platform)
	}
	return c, nil
}

// String returns the URL, without the credential that %v would print.
func (c *Client) String() string { return "chargeclient of " + c.base.String() }

// GoString is the same for %#v.
func (c *Client) GoString() string { return c.String() }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func newHTTPClient(callers *http.Client) *http.Client {
	var c http.Client
	if callers != nil {
		c = *callers
	} else if transport, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = transport.Clone()
		transport.MaxIdleConnsPerHost = 64 // the default of 2 closes connections of concurrent calls
		c.Transport = transport
	}
	setDefault(&c.Timeout, attemptTimeout)
	// A redirect would send the credential to another URL.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func isVisibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// hide removes the credential from a text that others wrote.
func (c *Client) hide(text string) string {
	return strings.ReplaceAll(text, c.cfg.APIKey+c.cfg.Token, "[credential]")
}
