package jwtauth

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const supportedAlgorithms = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"

const (
	maxLeeway        = 10 * time.Minute // catches mistakes in units
	minFetchInterval = time.Second      // protects the login server
)

// Config configures an [Authorizer]. It needs JWKSURL or Keys, and Audiences or AnyAudience.
type Config struct {
	// JWKSURL is the URL of the login server's public keys: https, or http on a loopback
	// address. Redirects are not followed.
	JWKSURL string

	// AllowHTTP allows http for any host, for trusted networks.
	AllowHTTP bool

	// Keys are the public keys if there is no JWKSURL.
	Keys []Key

	// Algorithms are the allowed signature algorithms: RS256, RS384, RS512, PS256, PS384,
	// PS512, ES256, ES384, ES512, EdDSA. Default: RS256, PS256, ES256, EdDSA.
	Algorithms []string

	// Issuer is the required iss. Default: any. Set it if the login server signs for several
	// issuers with the same keys.
	Issuer string

	// Audiences are names of this service, one of which a token's aud must have.
	Audiences []string

	// AnyAudience replaces Audiences and accepts tokens of other services.
	AnyAudience bool

	// TokenTypes are the allowed values of typ, such as at+jwt for access tokens. Case and
	// "application/" do not matter. Default: any or none.
	TokenTypes []string

	// PermissionsClaim is the claim with the permissions, such as METER_DATA.INGEST: a list of
	// strings, or a string separated by spaces. Default: permissions, or else scope.
	PermissionsClaim string

	// PlatformsClaim is the claim with the platforms that the token may act on: a string, or a
	// list with the default platform first. A token without platforms gets 403. Default:
	// platforms.
	//
	// A platform name has 1 to 256 visible characters, with single spaces between them. A
	// token with any other name gets 403, so that different names never look the same. Names
	// are compared byte by byte.
	PlatformsClaim string

	// Platform replaces PlatformsClaim, for login servers that send no claim for it. Services
	// without tenants use chargeingest.DefaultPlatform.
	Platform string

	// Leeway is the allowed clock difference, at most 10 minutes. Default: 30 seconds.
	Leeway time.Duration

	// Now is the clock for exp and nbf. Default: time.Now.
	Now func() time.Time

	// Logger receives failed fetches and changed keys. Default: slog.Default().
	Logger *slog.Logger

	// RefreshInterval is the time between regular fetches, at least a second. A withdrawn key
	// stays in use that long. Default: 15 minutes.
	RefreshInterval time.Duration

	// MinFetchInterval is the minimum time between two fetches, at least a second, for which
	// tokens of a new key can get 503. Default: 10 seconds.
	MinFetchInterval time.Duration

	// Transport sends the fetches, which fail after 5 seconds or more than 1 MiB. Default:
	// http.DefaultTransport.
	Transport http.RoundTripper
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case (c.JWKSURL == "") == (len(c.Keys) == 0):
		return c, errors.New("jwtauth: exactly one of Config.JWKSURL and Config.Keys must be set")
	case c.AnyAudience && len(c.Audiences) > 0:
		return c, errors.New("jwtauth: Config.Audiences and Config.AnyAudience cannot both be set")
	case !c.AnyAudience && len(c.Audiences) == 0:
		return c, errors.New("jwtauth: Config.Audiences is required, or Config.AnyAudience to accept tokens that were issued for other services")
	case slices.Contains(c.Audiences, ""):
		return c, errors.New("jwtauth: Config.Audiences contains an empty string")
	case slices.Contains(c.TokenTypes, ""):
		return c, errors.New("jwtauth: Config.TokenTypes contains an empty string")
	case c.Platform != "" && c.PlatformsClaim != "":
		return c, errors.New("jwtauth: Config.Platform and Config.PlatformsClaim cannot both be set")
	case c.Platform != "" && !isPlatformName(c.Platform):
		return c, errors.New("jwtauth: Config.Platform must have " + platformRule)
	}
	c = c.applyDefaults()
	switch {
	case c.Leeway < 0:
		return c, errors.New("jwtauth: Config.Leeway must not be negative")
	case c.Leeway > maxLeeway:
		return c, errors.New("jwtauth: Config.Leeway must be at most 10 minutes")
	case c.RefreshInterval < minFetchInterval:
		return c, errors.New("jwtauth: Config.RefreshInterval must be at least a second")
	case c.MinFetchInterval < minFetchInterval:
		return c, errors.New("jwtauth: Config.MinFetchInterval must be at least a second")
	case c.RefreshInterval < c.MinFetchInterval:
		return c, errors.New("jwtauth: Config.RefreshInterval must be at least Config.MinFetchInterval")
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(strings.Split(supportedAlgorithms, ", "), alg) {
			return c, fmt.Errorf("jwtauth: Config.Algorithms contains %q; supported are %s", alg, supportedAlgorithms)
		}
	}
	for i, k := range c.Keys {
		if err := k.check(c.Algorithms); err != nil {
			return c, fmt.Errorf("jwtauth: Config.Keys[%d]: %w", i, err)
		}
	}
	if c.JWKSURL != "" {
		return c, c.checkURL()
	}
	return c, nil
}

func (c Config) applyDefaults() Config {
	c.Keys, c.Audiences, c.Algorithms = slices.Clone(c.Keys), slices.Clone(c.Audiences), slices.Clone(c.Algorithms)
	c.TokenTypes = slices.Clone(c.TokenTypes)
	for i, typ := range c.TokenTypes {
		c.TokenTypes[i] = mediaType(typ)
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	}
	if c.PlatformsClaim == "" {
		c.PlatformsClaim = "platforms"
	}
	if c.Leeway == 0 {
		c.Leeway = 30 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.RefreshInterval == 0 {
		c.RefreshInterval = max(15*time.Minute, c.MinFetchInterval)
	}
	if c.MinFetchInterval == 0 {
		c.MinFetchInterval = min(10*time.Second, c.RefreshInterval)
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	return c
}

// The error omits the URL, which may contain a password.
func (c Config) checkURL() error {
	u, err := url.Parse(c.JWKSURL)
	if err == nil && u.User == nil && u.Fragment == "" && u.Hostname() != "" {
		if u.Scheme == "https" || u.Scheme == "http" && (c.AllowHTTP || isLoopback(u.Hostname())) {
			return nil
		}
	}
	return errors.New("jwtauth: Config.JWKSURL must be an https URL, or an http URL on a loopback address, without user and fragment")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
