// Package chargeclient is a client of the charge event endpoint. It retries only requests that
// cannot store an event twice.
package chargeclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config configures a [Client].
type Config struct {
	URL      string // base URL, with the mount prefix
	APIKey   string // exactly one of APIKey and Token
	Token    string
	Platform string // sent unless empty

	// HTTPClient follows no redirects. Its default Timeout, per attempt, is two minutes.
	HTTPClient *http.Client

	// RetryTimeout counts from the first failure. Default: two minutes; negative: no limit.
	RetryTimeout time.Duration

	MaxAttempts int // per request; default: no limit

	MaxBatchEvents int           // per request of SendBatch; default: 500
	MaxBatchBytes  int           // default: 3 MiB
	PollInterval   time.Duration // of Follow; default: one second

	// OnRetry is called before each pause.
	OnRetry func(Retry)
}

// Retry describes a failed attempt before the next one.
type Retry struct {
	Err     *Error
	Attempt int // from 1
	Pause   time.Duration
}

const (
	attemptTimeout      = 2 * time.Minute
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
	header http.Header
}

// New returns a client. Errors name the invalid field.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	switch {
	case err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" ||
		base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		// The text of err can contain a password.
		return nil, errors.New("chargeclient: Config.URL must be an http or https URL with a host, and without user, query and fragment")
	case (cfg.APIKey == "") == (cfg.Token == ""):
		return nil, errors.New("chargeclient: exactly one of Config.APIKey and Config.Token must be set")
	case !isVisibleASCII(cfg.APIKey):
		return nil, errors.New("chargeclient: Config.APIKey must be visible ASCII characters without spaces")
	case !isVisibleASCII(cfg.Token):
		return nil, errors.New("chargeclient: Config.Token must be visible ASCII characters without spaces")
	case !isPlatform(cfg.Platform):
		return nil, errors.New("chargeclient: Config.Platform must have no control characters, and no space at its start or end")
	case cfg.MaxAttempts < 0:
		return nil, errors.New("chargeclient: Config.MaxAttempts must not be negative")
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

// Format hides the credential.
func (c *Client) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "chargeclient of "+c.base.String())
}

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
		transport.MaxIdleConnsPerHost = 64
		transport.IdleConnTimeout = 30 * time.Second
		c.Transport = transport
	}
	setDefault(&c.Timeout, attemptTimeout)
	// A redirect would leak the credential.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

func isPlatform(s string) bool {
	isControl := func(r rune) bool { return r < ' ' || r == 0x7f }
	return !strings.ContainsFunc(s, isControl) && strings.TrimSpace(s) == s
}

func isVisibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

func (c *Client) hide(text string) string {
	return strings.ReplaceAll(text, c.cfg.APIKey+c.cfg.Token, "[credential]")
}
