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

// supported are the algorithms that are to be had: public keys verify, and
// nobody who verifies can sign.
const supported = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA"

const (
	// maxLeeway keeps a mistake in units from making tokens last for years.
	maxLeeway = 10 * time.Minute

	// minInterval keeps one from flooding the login server.
	minInterval = time.Second
)

// Config is what an [Authorizer] is made of. One of JWKSURL and Keys is
// required, and so is Audiences or AnyAudience; the zero value of everything
// else is a default that suits most services.
type Config struct {
	// JWKSURL is where the login server has its public keys. https, or http on
	// a loopback address; redirects are not followed.
	JWKSURL string

	// AllowHTTP lets JWKSURL be http for any host, for networks that are
	// trusted: who can alter what it answers can make tokens.
	AllowHTTP bool

	// Keys are the public keys, for hosts that have them. Exactly one of JWKSURL
	// and Keys is set.
	Keys []Key

	// Algorithms are the ones that tokens may be signed with: RS256, RS384,
	// RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA. Those with a
	// shared secret (HS256 …) and none are not to be had.
	// Default: RS256, PS256, ES256, EdDSA.
	Algorithms []string

	// Issuer is what a token's iss must be. Default: whatever it is, so that a
	// login server that signs for several issuers with the same keys needs it.
	Issuer string

	// Audiences are what this service is called in a token's aud, which must
	// have one of them.
	Audiences []string

	// AnyAudience accepts tokens whatever their aud, or without one: those too
	// that the login server made for other services. In place of Audiences.
	AnyAudience bool

	// Types are the values that a token's typ may have, such as at+jwt for the
	// access tokens of RFC 9068. They are compared without case and without a
	// leading "application/". A token without a typ is refused then.
	// Default: typ is not looked at.
	Types []string

	// PermissionsClaim is the claim with the token's permissions, such as
	// METER_DATA.INGEST: a list of strings, or a string with spaces between
	// them. Others in it do not matter. Default: permissions, and scope for
	// tokens without that.
	PermissionsClaim string

	// PlatformsClaim is the claim with the platforms that the token may act on,
	// the default first: a list of strings, or a string for a single one. A
	// token without it is refused with 403. Default: platforms.
	//
	// The name of a platform has 1 to 256 characters: letters, marks, digits,
	// punctuation, symbols, and single spaces (U+0020) between them. A token that
	// names any other is refused with 403, so that no two names look the same
	// because they differ in a control or zero-width character, a byte-order mark,
	// a variation selector, a blank symbol or white space. Names are compared byte
	// by byte and not normalized.
	PlatformsClaim string

	// Platform is the platform of all tokens, for services whose tokens have no
	// claim for it; chargeingest.DefaultPlatform where there are no tenants. In
	// place of PlatformsClaim. The same rule holds for its name.
	Platform string

	// Leeway is how far the login server's clock may be from ours, 10 minutes at
	// most. Default: 30 seconds.
	Leeway time.Duration

	// Now is the clock that exp and nbf are held against. Default: time.Now.
	Now func() time.Time

	// Logger gets a line where a fetch fails, and where the keys have changed.
	// Default: slog.Default().
	Logger *slog.Logger

	// RefreshInterval is the time from one fetch of JWKSURL to the next: for so
	// long a key that was withdrawn is still in use. At least a second.
	// Default: 15 minutes.
	RefreshInterval time.Duration

	// MinFetchInterval is the least time from the end of a fetch to the next,
	// for tokens that no known key verifies and after a failure. For so long, a
	// new key can be unknown, and its tokens get 503 with a Retry-After. At least
	// a second. Default: 10 seconds.
	MinFetchInterval time.Duration

	// Transport carries the fetches, for a proxy or a private certificate
	// authority. Each has five seconds and may bring 1 MiB. One that takes longer
	// has failed, though the Transport does not heed its context, and what it
	// brings then is dropped. Default: http.DefaultTransport.
	Transport http.RoundTripper
}

// withDefaults returns the configuration with its defaults in place, or an
// error that names the field that is wrong.
func (c Config) withDefaults() (Config, error) {
	switch {
	case (c.JWKSURL == "") == (len(c.Keys) == 0):
		return c, errors.New("jwtauth: exactly one of Config.JWKSURL and Config.Keys must be set")
	case c.AnyAudience && len(c.Audiences) > 0:
		return c, errors.New("jwtauth: Config.Audiences and Config.AnyAudience are set, of which only one can be meant")
	case !c.AnyAudience && len(c.Audiences) == 0:
		return c, errors.New("jwtauth: Config.Audiences is required: without it, tokens for other services would be accepted; Config.AnyAudience says that they are to be")
	case slices.Contains(c.Audiences, ""):
		return c, errors.New("jwtauth: Config.Audiences has an empty one")
	case slices.Contains(c.Types, ""):
		return c, errors.New("jwtauth: Config.Types has an empty one")
	case c.Platform != "" && c.PlatformsClaim != "":
		return c, errors.New("jwtauth: Config.Platform and Config.PlatformsClaim are set, of which only one can be meant")
	case c.Platform != "" && !isPlatform(c.Platform):
		return c, errors.New("jwtauth: Config.Platform must be " + platformRule)
	}
	c = c.filled()
	switch {
	case c.Leeway < 0:
		return c, errors.New("jwtauth: Config.Leeway is negative")
	case c.Leeway > maxLeeway:
		return c, errors.New("jwtauth: Config.Leeway is more than 10 minutes")
	case c.RefreshInterval < minInterval:
		return c, errors.New("jwtauth: Config.RefreshInterval is less than a second")
	case c.MinFetchInterval < minInterval:
		return c, errors.New("jwtauth: Config.MinFetchInterval is less than a second")
	case c.RefreshInterval < c.MinFetchInterval:
		return c, errors.New("jwtauth: Config.RefreshInterval is less than MinFetchInterval")
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(strings.Split(supported, ", "), alg) {
			return c, fmt.Errorf("jwtauth: Config.Algorithms has %q, which is none of %s", alg, supported)
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

// filled returns the configuration with defaults for what is not set.
func (c Config) filled() Config {
	c.Keys, c.Audiences, c.Algorithms = slices.Clone(c.Keys), slices.Clone(c.Audiences), slices.Clone(c.Algorithms)
	c.Types = slices.Clone(c.Types)
	for i, typ := range c.Types {
		c.Types[i] = mediaType(typ)
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

// checkURL refuses addresses whose answers others could forge. Its error does
// not repeat the address, which may hold a password.
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
