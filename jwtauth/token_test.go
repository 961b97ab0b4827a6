package jwtauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func TestMaxHeaderValues(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	list := func(n int) string { return s.token(claims(), "x", make([]int, n)) }
	require.NoError(t, authorize(a, list(60)))
	token := list(61)
	requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
	require.ErrorContains(t, authorize(a, token), "the header has too many values")
}

func TestDuplicateNames(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	text, err := json.Marshal(claims())
	require.NoError(t, err)
	good := strings.Trim(string(text), "{}")
	for _, field := range []string{
		`"exp":1`, `"exp":9999999999`, `"aud":"` + audience + `"`, `"iss":"` + issuer + `"`, `"sub":"root"`,
		`"platforms":["other"]`, `"permissions":[]`, `"\u0065xp":9999999999`, `"x":{"a":1,"a":1}`, `"x":[{"":1,"":1}]`,
	} {
		for order, payload := range map[string]string{
			"first": "{" + field + "," + good + "}", "last": "{" + good + "," + field + "}",
		} {
			t.Run("claims, "+order+": "+field, func(t *testing.T) {
				token := s.signRaw(`{"alg":"EdDSA","kid":"k"}`, payload)
				requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
				require.ErrorContains(t, authorize(a, token), "the claims are not JSON, have a duplicate name")
			})
		}
	}
	for _, header := range []string{
		`{"alg":"none","alg":"EdDSA","kid":"k"}`, `{"alg":"EdDSA","alg":"EdDSA","kid":"k"}`, `{"alg":"EdDSA","kid":"x","kid":"k"}`,
		`{"alg":"EdDSA","kid":"k","\u006bid":"k"}`, `{"alg":"EdDSA","kid":"k","jwk":{"x":1,"x":2}}`, "{\"alg\":\"EdDSA\",\"kid\":\"k\",\"x\":\"\xff\"}",
	} {
		t.Run("header: "+header, func(t *testing.T) {
			token := s.signRaw(header, string(text))
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			require.ErrorContains(t, authorize(a, token), "the header has a duplicate name")
		})
	}
	require.NoError(t, authorize(a, s.signRaw(`{"alg":"EdDSA","kid":"k","ALG":"none"}`, "{"+good+`,"EXP":1,"x":[{"a":1},{"a":1}]}`)),
		"names in another case are not duplicates")
}

func TestHeaderExtensions(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	for name, header := range map[string][]any{
		"crit":       {"crit", []string{"exp"}},
		"crit null":  {"crit", []any(nil)},
		"b64 true":   {"b64", true},
		"b64 false":  {"b64", false},
		"zip":        {"zip", "DEF"},
		"zip empty":  {"zip", ""},
		"zip number": {"zip", 0},
	} {
		t.Run(name, func(t *testing.T) {
			token := s.token(claims(), header...)
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			require.ErrorContains(t, authorize(a, token), "the header has "+name[:3])
		})
	}
}

func TestTokenTypes(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	for _, c := range []struct {
		types []string
		typ   any
		ok    bool
	}{
		{nil, "JWT", true},
		{nil, "anything", true},
		{nil, nil, true},
		{nil, 1, true},
		{[]string{"at+jwt"}, "at+jwt", true},
		{[]string{"at+jwt"}, "AT+JWT", true},
		{[]string{"at+jwt"}, "application/at+jwt", true},
		{[]string{"Application/AT+jwt"}, "at+jwt", true},
		{[]string{"at+jwt", "JWT"}, "jwt", true},
		{[]string{"at+jwt"}, "JWT", false},
		{[]string{"at+jwt"}, "id+jwt", false},
		{[]string{"at+jwt"}, "at+jwt ", false},
		{[]string{"at+jwt"}, "text/at+jwt", false},
		{[]string{"at+jwt"}, "application/application/at+jwt", false},
		{[]string{"at+jwt"}, "", false},
		{[]string{"at+jwt"}, nil, false},
		{[]string{"at+jwt"}, []string{"at+jwt"}, false},
	} {
		t.Run(fmt.Sprintf("%q accepts %v", c.types, c.typ), func(t *testing.T) {
			cfg := config(s)
			cfg.TokenTypes = c.types
			token := s.token(claims(), "typ", c.typ)
			if err := authorize(newAuthorizer(t, cfg), token); c.ok {
				require.NoError(t, err)
			} else {
				requireRejected(t, err, chargeingest.ErrInvalidCredential, token)
				require.ErrorContains(t, err, "the typ is not accepted")
			}
		})
	}
}

func TestRejectedWithoutFetch(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	l := newLoginServer(s)
	a, _ := newRemote(t, l, func(c *jwtauth.Config) { c.TokenTypes = []string{"at+jwt"} })
	require.NoError(t, authorize(a, s.token(claims(), "typ", "at+jwt")))
	l.handle(func(*http.Request) (*http.Response, error) { panic("fetched") })
	for _, header := range []string{
		`{"alg":"EdDSA","typ":"at+jwt","kid":"x","kid":"x"}`, `{"alg":"EdDSA","typ":"at+jwt","zip":"DEF"}`,
		`{"alg":"EdDSA","typ":"at+jwt","b64":false}`, `{"alg":"EdDSA","typ":"JWT"}`, `{"alg":"ES512","typ":"at+jwt"}`,
	} {
		token := unsignedToken(header, "{}")
		requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
	}
	require.Equal(t, 1, l.takeFetches())
}
