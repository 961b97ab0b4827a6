package jwtauth_test

import (
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func (s signer) signRaw(header, claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	signature, err := s.private.Sign(nil, []byte(text), crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
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
		typ   any // nil for no typ
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

func TestPlatformNames(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	accepts := func(name string) bool {
		token := s.token(claims("platforms", []string{"first", name}))
		p, err := a.Authorize(request(token), chargeingest.PermissionIngest)
		cfg := config(s)
		cfg.Platform = name
		if _, invalid := jwtauth.New(t.Context(), cfg); name != "" {
			require.Equal(t, err == nil, invalid == nil, "Config.Platform has the same rule")
		}
		if err != nil {
			requireRejected(t, err, chargeingest.ErrForbidden, token)
			return false
		}
		require.Equal(t, []string{"first", name}, p.Platforms)
		return true
	}
	for _, name := range []string{
		"acme", "Acme Inc.", "a b c", "Zoë", "Zoe\u0308", "株式会社", "пример", "عربى", "हिन्दी", "a/b:c|d_e-f@g", "😀", "€$", "0", `"`,
	} {
		require.True(t, accepts(name), "%+q", name)
	}
	for _, name := range []string{
		"", " ", "   ", " acme", "acme ", "a  b", "\t", "a\tb", "acme\n", "acme\r", "acme\x00", "acme\x7f", "acme\u0085",
		"acme\u00a0", "a\u00a0b", "\u2003", "a\u2009b", "acme\u3000", "a\u1680b", "acme\u2028", "acme\u2029", // spaces
		"acme\u200b", "ac\u200cme", "ac\u200dme", "\ufeffacme", "acme\u2060", "ac\u00adme", "acme\u180e", // zero width
		"acme\u200e", "\u202eacme", "acme\u2066", "acme\ufff9", "acme\U000e0001", "acme\U000e0041", // direction, notes, tags
		"acme\ufe0f", "acme\ufe00", "acme\U000e0100", "acme\u180b", "acme\u034f", // variation selectors, joiners
		"acme\u3164", "\u3164", "acme\u115f", "acme\u1160", "acme\uffa0", "acme\u17b4", // fillers
		"acme\u2800", "\u2800", "acme\U00013441", "acme\U00016fe4", "acme\U0001d159", // blanks
		"acme\ufffd", "acme\ue000", "acme\uffff", "acme\U0010ffff", "acme\u0378", // not characters
	} {
		require.False(t, accepts(name), "%+q", name)
	}
}

func keysOfSizes(bits ...int) (keys []jwtauth.Key) {
	for _, n := range bits {
		keys = append(keys, jwtauth.Key{Public: randomRSA(n, 65537)})
	}
	return keys
}

func TestMaxBitsTried(t *testing.T) {
	t.Parallel()
	const tooMany = "too many keys could have signed the token"
	rs := rsaSigner("")
	for _, c := range []struct {
		name string
		bits []int // of the other keys
		ok   bool
	}{
		{"the only key", nil, true},
		{"a rotation of 2,048 bits", []int{2048, 2048}, true},
		{"a rotation of 4,096 bits", []int{4096, 4096, 4096}, true},
		{"a rotation of 8,192 bits", []int{8192, 8192}, true},
		{"seven others of 2,048 bits", []int{2048, 2048, 2048, 2048, 2048, 2048, 2048}, true},
		{"eight others of 2,048 bits", []int{2048, 2048, 2048, 2048, 2048, 2048, 2048, 2048}, false},
		{"six others of 4,096 bits", []int{4096, 4096, 4096, 4096, 4096, 4096}, false},
		{"three others of 8,192 bits", []int{8192, 8192, 8192}, false},
		{"seven others of 8,192 bits", []int{8192, 8192, 8192, 8192, 8192, 8192, 8192}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config()
			cfg.Keys = append(keysOfSizes(c.bits...), rs.key())
			err := authorize(newAuthorizer(t, cfg), rs.token(claims()))
			if c.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, chargeingest.ErrInvalidCredential)
				require.ErrorContains(t, err, tooMany)
			}
			withKid := rs
			withKid.kid = "k"
			cfg.Keys = append(cfg.Keys, withKid.key())
			require.NoError(t, authorize(newAuthorizer(t, cfg), withKid.token(claims())), "a kid selects one key")
		})
	}
	for curve, maxKeys := range map[elliptic.Curve]int{elliptic.P256(): 8, elliptic.P384(): 6, elliptic.P521(): 3} {
		t.Run(curve.Params().Name, func(t *testing.T) {
			ec := ecSigner("", curve)
			cfg := config(ec)
			cfg.Algorithms = []string{"ES256", "ES384", "ES512"}
			for len(cfg.Keys) < maxKeys {
				cfg.Keys = append(cfg.Keys, ecSigner("", curve).key())
			}
			require.NoError(t, authorize(newAuthorizer(t, cfg), ec.token(claims())))
			cfg.Keys = append(cfg.Keys, ecSigner("", curve).key())
			require.ErrorContains(t, authorize(newAuthorizer(t, cfg), ec.token(claims())), tooMany)
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
