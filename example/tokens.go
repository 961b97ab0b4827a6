package main

import (
	"context"
	"errors"
	"log/slog"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// tokenConfig says which tokens are accepted; without jwksURL none are.
type tokenConfig struct {
	jwksURL          string
	issuer           string
	audience         string
	typ              string
	permissionsClaim string
	platformsClaim   string
	platform         string
}

func (c *tokenConfig) options() []option {
	return []option{
		{"jwks-url", "CHARGEINGEST_JWKS_URL", "URL", "",
			"accept Bearer tokens that are JWTs, signed by a key of the JWKS there: https, or http on a\nloopback address", text(&c.jwksURL)},
		{"jwt-issuer", "CHARGEINGEST_JWT_ISSUER", "ISSUER", "",
			"what the iss of a token must be; any, if not given", text(&c.issuer)},
		{"jwt-audience", "CHARGEINGEST_JWT_AUDIENCE", "AUDIENCE", "",
			"what the aud of a token must be or have, required with -jwks-url", text(&c.audience)},
		{"jwt-type", "CHARGEINGEST_JWT_TYPE", "TYPE", "",
			"what the typ of a token must be, such as at+jwt (RFC 9068); any, if not given", text(&c.typ)},
		{"jwt-permissions-claim", "CHARGEINGEST_JWT_PERMISSIONS_CLAIM", "CLAIM", "",
			"the claim with the permissions of a token, a list or a string with spaces between them;\n" +
				"permissions, or else scope, if not given", text(&c.permissionsClaim)},
		{"jwt-platforms-claim", "CHARGEINGEST_JWT_PLATFORMS_CLAIM", "CLAIM", "",
			"the claim with the platforms of a token, a list with the default first, or a string;\nplatforms, if not given",
			text(&c.platformsClaim)},
		{"jwt-platform", "CHARGEINGEST_JWT_PLATFORM", "PLATFORM", "",
			"the platform of every token, where tokens have no claim for it; that of -api-key is " + chargeingest.DefaultPlatform,
			text(&c.platform)},
	}
}

// check returns an error for options that make no sense together.
func (c *tokenConfig) check() error {
	switch {
	case c.jwksURL == "" && *c != tokenConfig{}:
		return errors.New("-jwks-url must be given with the options that start with -jwt")
	case c.jwksURL != "" && c.audience == "":
		return errors.New("-jwt-audience must be given with -jwks-url: without it, tokens for other services would be accepted")
	case c.platform != "" && c.platformsClaim != "":
		return errors.New("-jwt-platform and -jwt-platforms-claim must not be given together")
	}
	return nil
}

// start returns the authorizer of tokens, whose keys are refreshed until ctx
// ends, or nil where none are accepted.
func (c *tokenConfig) start(ctx context.Context, logger *slog.Logger) (*jwtauth.Authorizer, error) {
	if c.jwksURL == "" {
		return nil, nil
	}
	var types []string
	if c.typ != "" {
		types = []string{c.typ}
	}
	tokens, err := jwtauth.New(ctx, jwtauth.Config{
		JWKSURL: c.jwksURL, Issuer: c.issuer, Audiences: []string{c.audience}, TokenTypes: types,
		PermissionsClaim: c.permissionsClaim, PlatformsClaim: c.platformsClaim, Platform: c.platform,
		Logger: logger,
	})
	if err != nil {
		return nil, usagef("-jwks-url, -jwt-platform: %w", err)
	}
	return tokens, nil
}

// authorizerOf returns the authorizer for keys and tokens, either of which may
// be nil.
func authorizerOf(keys *chargeingest.Keys, tokens *jwtauth.Authorizer) chargeingest.Authorizer {
	switch {
	case tokens == nil:
		return keys
	case keys == nil:
		return tokens
	}
	// An API key that is sent as a Bearer token is none of tokens' kind, while
	// every token would be an unknown key.
	return chargeingest.FirstOf(tokens, keys)
}
