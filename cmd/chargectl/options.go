package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/internal/cli"
)

type clientConfig struct {
	chargeclient.Config
	socket string // path, or empty
}

func clientOptions(c *clientConfig) []cli.Option {
	return []cli.Option{
		{
			Name: "url", Env: "CHARGEINGEST_URL", Argument: "URL", Default: "http://127.0.0.1:8080",
			Usage: "URL of the server, with the prefix of its endpoints, if any; or unix:/PATH for a server without TLS\n" +
				"on a unix socket. To trust a private certificate, set SSL_CERT_FILE to a file that contains it",
			Set: c.setURL,
		},
		{
			Name: "api-key", Env: "CHARGEINGEST_API_KEY", Argument: "KEY",
			Usage: "API key; this or -token is required. Prefer the environment variable, because other users can\n" +
				"read command lines",
			Set: cli.Secret(&c.APIKey),
		},
		{
			Name: "token", Env: "CHARGEINGEST_TOKEN", Argument: "TOKEN",
			Usage: "bearer token, instead of an API key",
			Set:   cli.Secret(&c.Token),
		},
		{
			Name: "platform", Env: "CHARGEINGEST_PLATFORM", Argument: "PLATFORM",
			Usage: "platform to act on, if it is not the default one of the key or token",
			Set:   c.setPlatform,
		},
	}
}

// parse returns the argument that the synopsis names, if any.
func (p *program) parse(cmd *cli.Command, server *clientConfig, args []string) (argument string, err error) {
	arguments, err := cmd.Parse(args, p.lookupEnv, p.stdout)
	if err != nil {
		return "", err
	}
	words := strings.Fields(cmd.Synopsis)
	name, operands := words[1], words[2:]
	switch {
	case len(operands) == 0 && len(arguments) > 0:
		return "", cli.Usagef("%s: unexpected argument %q", name, arguments[0])
	case len(arguments) < len(operands):
		return "", cli.Usagef("%s: %s is missing", name, operands[0])
	case len(arguments) > len(operands):
		return "", cli.Usagef("%s: one %s must be given, not %d", name, operands[0], len(arguments))
	case len(operands) > 0:
		argument = arguments[0]
	}
	return argument, server.check(name)
}

func (c *clientConfig) check(command string) error {
	switch {
	case c.APIKey == "" && c.Token == "":
		return cli.Usagef("%s: -api-key or CHARGEINGEST_API_KEY, or -token or CHARGEINGEST_TOKEN, must be given", command)
	case c.APIKey != "" && c.Token != "":
		return cli.Usagef("%s: an API key and a token must not both be given (-api-key, CHARGEINGEST_API_KEY, -token, "+
			"CHARGEINGEST_TOKEN)", command)
	}
	return nil
}

const (
	requestTimeout = 2 * time.Minute // longer than the server's timeouts
	maxConnections = 16
)

func newTransport(socket string) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = maxConnections
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	return t
}

func (p *program) newClient(c clientConfig, logRetry func(string)) (*chargeclient.Client, error) {
	transport := p.transport
	if c.socket != "" {
		transport = newTransport(c.socket)
	}
	c.HTTPClient = &http.Client{Transport: transport, Timeout: requestTimeout}
	c.OnRetry = func(r chargeclient.Retry) {
		cause := strings.TrimSuffix(r.Err.Error(), "; the events may be stored") // contradicts some responses
		logRetry(fmt.Sprintf("%s; retrying in %s", cause, r.Pause.Round(100*time.Millisecond)))
	}
	return chargeclient.New(c.Config)
}

// setURL hides the value, which may contain a password, from its error.
func (c *clientConfig) setURL(value string) error {
	if path, isSocket := strings.CutPrefix(value, "unix:"); isSocket && filepath.IsAbs(path) {
		c.socket, c.URL = path, "http://localhost"
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || !slices.Contains([]string{"http", "https"}, u.Scheme) || u.Host == "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be an http or https URL without user, query or fragment, such as http://127.0.0.1:8080, or unix:/PATH")
	}
	c.URL = value
	return nil
}

func (c *clientConfig) setPlatform(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
		return fmt.Errorf("must have no control characters, and no space at its start or end, but is %q", value)
	}
	c.Platform = value
	return nil
}

func positiveDuration(dst *time.Duration) func(string) error {
	return func(value string) error {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return fmt.Errorf("must be a positive duration such as 500ms or 2s, not %q", value)
		}
		*dst = d
		return nil
	}
}

func boolean(dst *bool) func(string) error {
	return cli.OneOf(dst, cli.Choice[bool]{Name: "true", Value: true}, cli.Choice[bool]{Name: "false", Value: false})
}
