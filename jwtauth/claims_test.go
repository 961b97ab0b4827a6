package jwtauth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func TestLeeway(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	for name, c := range map[string]struct {
		leeway time.Duration
		claims map[string]any
		ok     bool
	}{
		"expired within the leeway":       {0, claims("exp", now.Add(-29*time.Second).Unix()), true},
		"expired beyond the leeway":       {0, claims("exp", now.Add(-30*time.Second).Unix()), false},
		"not yet valid within the leeway": {0, claims("nbf", now.Add(30*time.Second).Unix()), true},
		"not yet valid beyond the leeway": {0, claims("nbf", now.Add(31*time.Second).Unix()), false},
		"expired, a tiny leeway":          {1, claims("exp", now.Add(-time.Second).Unix()), false},
		"expired, a long leeway":          {10 * time.Minute, claims("exp", now.Add(-9*time.Minute).Unix()), true},
		"a fraction of a second":          {0, claims("exp", float64(now.Unix())+0.5), true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(s)
			cfg.Leeway = c.leeway
			token := s.token(c.claims)
			if err := authorize(newAuthorizer(t, cfg), token); c.ok {
				require.NoError(t, err)
			} else {
				requireRejected(t, err, chargeingest.ErrInvalidCredential, token)
			}
		})
	}
}

func TestIssuerAndAudience(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	for _, c := range []struct {
		name   string
		change func(*jwtauth.Config)
		claims map[string]any
		ok     bool
	}{
		{"one of the token's audiences is ours", nil, claims("aud", []string{"other", audience}), true},
		{"one of our audiences is the token's", func(c *jwtauth.Config) { c.Audiences = []string{"x", "y"} }, claims("aud", "y"), true},
		{"no audience is ours", func(c *jwtauth.Config) { c.Audiences = []string{"x", "y"} }, claims(), false},
		{"any audience, another aud", func(c *jwtauth.Config) { c.Audiences, c.AnyAudience = nil, true }, claims("aud", "other"), true},
		{"any audience, no aud", func(c *jwtauth.Config) { c.Audiences, c.AnyAudience = nil, true }, claims("aud", nil), true},
		{"no issuer configured, any iss", func(c *jwtauth.Config) { c.Issuer = "" }, claims("iss", "other"), true},
		{"no issuer configured, no iss", func(c *jwtauth.Config) { c.Issuer = "" }, claims("iss", nil), true},
		{"any audience, another issuer", func(c *jwtauth.Config) { c.Audiences, c.AnyAudience = nil, true }, claims("iss", "other"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s)
			if c.change != nil {
				c.change(&cfg)
			}
			if err := authorize(newAuthorizer(t, cfg), s.token(c.claims)); c.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)
			}
		})
	}
}

func TestPermissionsClaim(t *testing.T) {
	t.Parallel()
	const ingest, view = "METER_DATA.INGEST", "METER_DATA.VIEW"
	s := edSigner("k")
	for _, c := range []struct {
		name   string
		claim  string
		claims map[string]any
		ok     bool
	}{
		{"in the list", "", claims("permissions", []string{"openid", ingest}), true},
		{"a string with spaces", "", claims("permissions", view+" "+ingest), true},
		{"in scope, without permissions", "", claims("permissions", nil, "scope", "openid "+ingest), true},
		{"a tab in scope is not a separator", "", claims("permissions", nil, "scope", "openid\t"+ingest), false},
		{"scope as a list", "", claims("permissions", nil, "scope", []string{ingest}), true},
		{"in scope, but not in permissions", "", claims("permissions", []string{view}, "scope", ingest), false},
		{"in scope, empty permissions", "", claims("permissions", []string{}, "scope", ingest), false},
		{"neither claim", "", claims("permissions", nil), false},
		{"the other permission", "", claims("permissions", []string{view}), false},
		{"another case", "", claims("permissions", []string{"meter_data.ingest"}), false},
		{"a longer name", "", claims("permissions", []string{ingest + ".ALL"}), false},
		{"two in one entry of a list", "", claims("permissions", []string{view + " " + ingest}), false},
		{"an object", "", claims("permissions", map[string]any{ingest: true}), false},
		{"a number in the list", "", claims("permissions", []any{ingest, 1}), false},
		{"a configured claim", "https://login.test/roles", claims("permissions", nil, "https://login.test/roles", []string{ingest}), true},
		{"a configured claim, missing", "roles", claims("scope", ingest), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s)
			cfg.PermissionsClaim = c.claim
			token := s.token(c.claims)
			if err := authorize(newAuthorizer(t, cfg), token); c.ok {
				require.NoError(t, err)
			} else {
				requireRejected(t, err, chargeingest.ErrForbidden, token)
			}
		})
	}
	t.Run("another permission", func(t *testing.T) {
		_, err := newAuthorizer(t, config(s)).Authorize(request(s.token(claims())), chargeingest.PermissionView)
		require.ErrorIs(t, err, chargeingest.ErrForbidden)
	})
}

func TestPlatformsClaim(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	for _, c := range []struct {
		name      string
		change    func(*jwtauth.Config)
		claims    map[string]any
		platforms []string // nil for 403
	}{
		{"a list, the default first", nil, claims("platforms", []string{"b", "a"}), []string{"b", "a"}},
		{"a string with a space", nil, claims("platforms", "b a"), []string{"b a"}},
		{"256 characters", nil, claims("platforms", strings.Repeat("é", 256)), []string{strings.Repeat("é", 256)}},
		{"none", nil, claims("platforms", nil), nil},
		{"null", nil, with(claims(), "platforms", []any(nil)), nil},
		{"an empty list", nil, claims("platforms", []string{}), nil},
		{"an empty string", nil, claims("platforms", ""), nil},
		{"an empty string in the list", nil, claims("platforms", []string{"a", ""}), nil},
		{"a number", nil, claims("platforms", 1), nil},
		{"a number in the list", nil, claims("platforms", []any{"a", 1}), nil},
		{"257 characters", nil, claims("platforms", strings.Repeat("a", 257)), nil},
		{"a line break", nil, claims("platforms", "a\nb"), nil},
		{"U+FFFD", nil, claims("platforms", []string{"a", "b\ufffd"}), nil},
		{"a configured claim", func(c *jwtauth.Config) { c.PlatformsClaim = "tid" }, claims("tid", "t"), []string{"t"}},
		{"a configured claim, missing", func(c *jwtauth.Config) { c.PlatformsClaim = "tid" }, claims(), nil},
		{
			"a configured platform, no claim", func(c *jwtauth.Config) { c.Platform = chargeingest.DefaultPlatform },
			claims("platforms", nil), []string{chargeingest.DefaultPlatform},
		},
		{
			"a configured platform overrides the claim", func(c *jwtauth.Config) { c.Platform = chargeingest.DefaultPlatform },
			claims(), []string{chargeingest.DefaultPlatform},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s)
			if c.change != nil {
				c.change(&cfg)
			}
			token := s.token(c.claims)
			p, err := newAuthorizer(t, cfg).Authorize(request(token), chargeingest.PermissionIngest)
			if c.platforms == nil {
				requireRejected(t, err, chargeingest.ErrForbidden, token)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, c.platforms, p.Platforms)
		})
	}
}

func TestPlatformsInvalidUnicode(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	for _, name := range []string{`"\ud800"`, `"\udfff"`, "\"\xff\"", `"acme","\udc00"`} {
		text, err := json.Marshal(claims("platforms", []string{"NAME"}))
		require.NoError(t, err)
		payload := bytes.Replace(text, []byte(`"NAME"`), []byte(name), 1)
		token := s.sign(map[string]any{"alg": "EdDSA", "kid": "k"}, base64.RawURLEncoding.EncodeToString(payload))
		p, err := a.Authorize(request(token), chargeingest.PermissionIngest)
		require.ErrorIs(t, err, chargeingest.ErrInvalidCredential, "%q", name)
		require.Empty(t, p.Platforms)
	}
}

func TestSubjectIsLoggable(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	for name, c := range map[string]struct {
		sub  any
		want string
	}{
		"unchanged":             {"Zoë|42", "Zoë|42"},
		"line breaks":           {"a\r\nlevel=ERROR\x1b[31m\u202e", "a��level=ERROR�[31m�"},
		"a thousand characters": {strings.Repeat("é", 1000), strings.Repeat("é", 128)},
		"a number":              {42, ""},
		"none":                  {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := a.Authorize(request(s.token(claims("sub", c.sub))), chargeingest.PermissionIngest)
			require.NoError(t, err)
			require.Equal(t, c.want, p.Subject)
		})
	}
}
