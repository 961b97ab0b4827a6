package main

import (
	"context"
	"errors"
	"log/slog"

	"example.com/chargeingest"
	"example.com/chargeingest/internal/cli"
	"example.com/chargeingest/jwtauth"
)

// Without jwksURL, no tokens are accepted.
type tokenConfig struct {
	jwksURL          string
	issuer           string
	audience         string
	typ              string
	permissionsClaim string
	platformsClaim   string
	platform         string
}

func (c *tokenConfig) options() []cli.Option {
	return []cli.Option{
		{
			Name: "jwks-url", Env: "CHARGEINGEST_JWKS_URL", Argument: "URL",
			Usage: "accept JWTs signed by a key of this JWKS as Bearer tokens; https, or http on a loopback address",
			Set:   cli.Text(&c.jwksURL),
		},
		{
			Name: "jwt-issuer", Env: "CHARGEINGEST_JWT_ISSUER", Argument: "ISSUER",
			Usage: "required iss of a token; any if not set",
			Set:   cli.Text(&c.issuer),
		},
		{
			Name: "jwt-audience", Env: "CHARGEINGEST_JWT_AUDIENCE", Argument: "AUDIENCE",
			Usage: "required aud of a token, or one of its values; mandatory with -jwks-url",
			Set:   cli.Text(&c.audience),
		},
		{
			Name: "jwt-type", Env: "CHARGEINGEST_JWT_TYPE", Argument: "TYPE",
			Usage: "required typ of a token, such as at+jwt (RFC 9068); any if not set",
			Set:   cli.Text(&c.typ),
		},
		{
			Name: "jwt-permissions-claim", Env: "CHARGEINGEST_JWT_PERMISSIONS_CLAIM", Argument: "CLAIM",
			Usage: "claim with the permissions of a token, a list or a string separated by spaces; if not set,\n" +
				"permissions or else scope",
			Set: cli.Text(&c.permissionsClaim),
		},
		{
			Name: "jwt-platforms-claim", Env: "CHARGEINGEST_JWT_PLATFORMS_CLAIM", Argument: "CLAIM",
			Usage: "claim with the platforms of a token, a list that starts with the default, or a string; if not\n" +
				"set, platforms",
			Set: cli.Text(&c.platformsClaim),
		},
		{
			Name: "jwt-platform", Env: "CHARGEINGEST_JWT_PLATFORM", Argument: "PLATFORM",
			Usage: "platform of every token, if tokens have no platforms claim; -api-key has the platform \"" + chargeingest.DefaultPlatform + "\"",
			Set:   cli.Text(&c.platform),
		},
	}
}

func (c *tokenConfig) check() error {
	switch {
	case c.jwksURL == "" && *c != tokenConfig{}:
		return errors.New("options that start with -jwt require -jwks-url")
	case c.jwksURL != "" && c.audience == "":
		return errors.New("-jwks-url requires -jwt-audience: without it, tokens for other services would be accepted")
	case c.platform != "" && c.platformsClaim != "":
		return errors.New("-jwt-platform and -jwt-platforms-claim must not be given together")
	}
	return nil
}

// start returns nil if no tokens are accepted. The keys are refreshed until ctx ends.
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
		return nil, cli.Usagef("-jwks-url, -jwt-platform: %w", err)
	}
	return tokens, nil
}

func newAuthorizer(keys *chargeingest.Keys, tokens *jwtauth.Authorizer) chargeingest.Authorizer {
	switch {
	case tokens == nil:
		return keys
	case keys == nil:
		return tokens
	}
	// Keys would reject every token.
	return chargeingest.FirstOf(tokens, keys)
}
