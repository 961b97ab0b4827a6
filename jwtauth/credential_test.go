package jwtauth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestNoCredential(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	good := s.token(claims())
	for name, header := range map[string]http.Header{
		"nothing":                             {},
		"another scheme":                      {"Authorization": {"Basic " + good}},
		"an API key":                          {"X-Api-Key": {"secret"}},
		"an API key and a token":              {"X-Api-Key": {"secret"}, "Authorization": {"Bearer " + good}},
		"a token as an API key":               {"X-Api-Key": {good}},
		"a Bearer token without dots":         {"Authorization": {"Bearer secret"}},
		"two parts":                           {"Authorization": {"Bearer " + good[:strings.LastIndex(good, ".")]}},
		"four parts":                          {"Authorization": {"Bearer " + good + ".x"}},
		"five parts, an encrypted token":      {"Authorization": {"Bearer " + good + ".x.y"}},
		"eight thousand dots":                 {"Authorization": {"Bearer " + strings.Repeat(".", 8000)}},
		"only dots":                           {"Authorization": {"Bearer .."}},
		"three parts without JSON":            {"Authorization": {"Bearer abc.def.ghi"}},
		"a null header":                       {"Authorization": {"Bearer " + encoded(nil) + ".e30."}},
		"a list as header":                    {"Authorization": {"Bearer " + encoded([]string{"alg"}) + ".e30."}},
		"a character outside base64url":       {"Authorization": {"Bearer " + good + "="}},
		"a line break, which decoders ignore": {"Authorization": {"Bearer " + good[:3] + "\n" + good[3:]}},
		"two tokens in one header":            {"Authorization": {"Bearer " + good + ", " + good}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header = header
			_, err := a.Authorize(r, chargeingest.PermissionIngest)
			require.ErrorIs(t, err, chargeingest.ErrNoCredential)
		})
	}
}

func TestRepeatedOrEmptyHeader(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	good := "Bearer " + s.token(claims())
	for name, header := range map[string]http.Header{
		"Authorization twice":                {"Authorization": {good, good}},
		"Authorization twice and an API key": {"Authorization": {good, good}, "X-Api-Key": {"secret"}},
		"two API keys and a token":           {"Authorization": {good}, "X-Api-Key": {"secret", "secret"}},
		"an empty API key and a token":       {"Authorization": {good}, "X-Api-Key": {""}},
		"a scheme without a token":           {"Authorization": {"Bearer"}},
		"a scheme and spaces":                {"Authorization": {"Bearer   "}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header = header
			_, err := a.Authorize(r, chargeingest.PermissionIngest)
			require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)
		})
	}
}

func TestTokensBeforeAPIKeys(t *testing.T) {
	t.Parallel()
	keys, err := chargeingest.NewKeys(chargeingest.Key{
		Secret: "api-key", Subject: "key", Platforms: []string{"p"}, Permissions: []chargeingest.Permission{chargeingest.PermissionIngest},
	})
	require.NoError(t, err)
	s := edSigner("k")
	both := chargeingest.FirstOf(newAuthorizer(t, config(s)), keys)
	good := s.token(claims())
	for _, c := range []struct {
		name    string
		header  http.Header
		subject string // "" for 401
	}{
		{"a token", http.Header{"Authorization": {"Bearer " + good}}, "checkout"},
		{"a token, another case of the scheme", http.Header{"Authorization": {"bEARER  " + good}}, "checkout"},
		{"an API key", http.Header{"X-Api-Key": {"api-key"}}, "key"},
		{"an API key as a Bearer token", http.Header{"Authorization": {"Bearer api-key"}}, "key"},
		{"an API key and a token", http.Header{"X-Api-Key": {"api-key"}, "Authorization": {"Bearer " + good}}, "key"},
		{"an invalid API key and a valid token", http.Header{"X-Api-Key": {"other"}, "Authorization": {"Bearer " + good}}, ""},
		{"an invalid token", http.Header{"Authorization": {"Bearer " + good + "A"}}, ""},
		{"many dots", http.Header{"Authorization": {"Bearer " + strings.Repeat("a.", 4000)}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header = c.header
			p, err := both.Authorize(r, chargeingest.PermissionIngest)
			require.Equal(t, c.subject, p.Subject)
			if c.subject == "" {
				require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestMaxTokenSize(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	sized := func(length int) string {
		missing := length - len(s.token(claims("padding", "")))
		for inHeader := range 4 {
			header := strings.Repeat("x", inHeader)
			for padding := missing*3/4 - 32; padding < missing; padding++ {
				token := s.token(claims("padding", strings.Repeat("x", padding)), "padding", header)
				if len(token) == length {
					return token
				}
				if len(token) > length {
					break
				}
			}
		}
		require.FailNow(t, "no token has the length")
		return ""
	}
	require.NoError(t, authorize(a, sized(8<<10)))
	for _, length := range []int{8<<10 + 1, 8<<10 + 2, 15 << 10} {
		token := sized(length)
		requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		require.ErrorContains(t, authorize(a, token), "longer than 8 KiB")
	}
}
