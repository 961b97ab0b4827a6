package jwtauth_test

import (
	"crypto/elliptic"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestUnusableKeySet(t *testing.T) {
	s := edSigner("k")
	secret := map[string]any{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}
	for _, c := range []struct {
		name   string
		status int
		body   string
		log    string
	}{
		{"500", 500, jwks(s.jwk()), "the response status is 500, not 200"},
		{"404", 404, "not found", "the response status is 404, not 200"},
		{"204", 204, "", "the response status is 204, not 200"},
		{"a page", 200, "<html>maintenance</html>", "not a JSON Web Key Set"},
		{"nothing", 200, "", "not a JSON Web Key Set"},
		{"half a key set", 200, jwks(s.jwk())[:40], "not a JSON Web Key Set"},
		{"two key sets", 200, jwks(s.jwk()) + jwks(s.jwk()), "not a JSON Web Key Set"},
		{"null", 200, "null", "the key set is empty"},
		{"an error that is JSON", 200, `{"error":"internal"}`, "the key set is empty"},
		{"an empty set", 200, `{"keys":[]}`, "the key set is empty"},
		{"keys that are not a list", 200, `{"keys":{"k":1}}`, "not a JSON Web Key Set"},
		{"a list", 200, `[` + jwks(s.jwk()) + `]`, "not a JSON Web Key Set"},
		{"keys that are numbers", 200, `{"keys":[1,null]}`, "the key set has no usable key"},
		{"only a shared secret", 200, jwks(secret), "key 0: a symmetric key"},
		{"only an encryption key", 200, jwks(with(s.jwk(), "use", "enc")), "key 0: not for verifying"},
		{"too many keys", 200, `{"keys":[` + strings.Repeat(`{},`, 128) + `{}]}`, "more than 128 keys"},
		{"10 MB", 200, jwks(with(s.jwk(), "padding", strings.Repeat("x", 10_000_000))), "more than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer(s)
				a, log := newRemote(t, l)
				require.NoError(t, authorize(a, s.token(longLived())))
				l.respond(c.status, c.body)
				advance(15 * time.Minute)
				require.Equal(t, 2, l.takeFetches())
				require.Contains(t, log.String(), c.log)
				require.NoError(t, authorize(a, s.token(longLived())))
				requireUnavailable(t, authorize(a, s.token(longLived(), "kid", "other")))
			})
		})
	}
}

func TestUsableKeys(t *testing.T) {
	t.Parallel()
	ed, rs, ec := edSigner("k"), rsaSigner("k"), ecSigner("k", elliptic.P256())
	other := edSigner("other")
	tiny := map[string]any{"kty": "RSA", "kid": "k", "n": strings.Repeat("w", 128), "e": "AQAB"}
	for _, c := range []struct {
		name string
		keys []map[string]any
		sign signer
		alg  string
		ok   bool
	}{
		{"for signatures", []map[string]any{with(ed.jwk(), "use", "sig", "key_ops", []string{"verify"})}, ed, "EdDSA", true},
		{"for signatures and an unknown use", []map[string]any{with(ed.jwk(), "key_ops", []string{"verify", "new"})}, ed, "EdDSA", true},
		{"for encryption", []map[string]any{with(ed.jwk(), "use", "enc")}, ed, "EdDSA", false},
		{"for an unknown use", []map[string]any{with(ed.jwk(), "use", "tls")}, ed, "EdDSA", false},
		{"only for signing", []map[string]any{with(ed.jwk(), "key_ops", []string{"sign"})}, ed, "EdDSA", false},
		{"with the token's algorithm", []map[string]any{with(rs.jwk(), "alg", "PS256")}, rs, "PS256", true},
		{"with another algorithm", []map[string]any{with(rs.jwk(), "alg", "PS256")}, rs, "RS256", false},
		{"with an algorithm for encryption", []map[string]any{with(rs.jwk(), "alg", "RSA-OAEP")}, rs, "RS256", false},
		{"without an algorithm", []map[string]any{rs.jwk()}, rs, "PS256", true},
		{"on a curve", []map[string]any{ec.jwk()}, ec, "ES256", true},
		{"a point that is not on its curve", []map[string]any{with(ec.jwk(), "x", ec.jwk()["y"])}, ec, "ES256", false},
		{"a private key", []map[string]any{with(ed.jwk(), "d", "c2VjcmV0")}, ed, "EdDSA", true},
		{"two types with one ID", []map[string]any{rs.jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"two keys with one ID and type", []map[string]any{edSigner("k").jwk(), ed.jwk()}, ed, "EdDSA", true},
		{"no ID, a token with a kid", []map[string]any{with(ed.jwk(), "kid", nil)}, ed, "EdDSA", false},
		{"no ID, a token without a kid", []map[string]any{signer{"", ed.private}.jwk()}, signer{"", ed.private}, "EdDSA", true},
		{"a long ID", []map[string]any{with(ed.jwk(), "kid", strings.Repeat("k", 257))}, ed, "EdDSA", false},
		{"among invalid keys", []map[string]any{nil, {"kty": 1}, {"kty": "EC"}, tiny, {"kty": "new"}, {"kty": "RSA", "n": "!", "e": "AQAB"}, ed.jwk()}, ed, "EdDSA", true},
		{"with invalid certificates", []map[string]any{with(ed.jwk(), "x5c", []string{"!"}, "x5t", "!", "x5u", "https://evil.test/")}, ed, "EdDSA", true},
		{"an RSA key of 768 bits", []map[string]any{tiny}, rs, "RS256", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLoginServer()
				l.respond(http.StatusOK, jwks(append(c.keys, other.jwk())...))
				a, log := newRemote(t, l)
				advance(time.Minute)
				token := c.sign.token(claims(), "alg", c.alg)
				if err := authorize(a, token); c.ok {
					require.NoError(t, err, log)
				} else {
					requireRejected(t, err, chargeingest.ErrInvalidCredential, token)
				}
				require.NoError(t, authorize(a, other.token(claims())), "other keys are used")
				require.LessOrEqual(t, l.takeFetches(), 2)
				require.Empty(t, l.otherURLs)
			})
		})
	}
}

func TestSymmetricKeyInKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoginServer()
		l.respond(http.StatusOK, jwks(edSigner("other").jwk(), map[string]any{"kty": "oct", "kid": "k", "alg": "HS256", "k": "c2VjcmV0"}))
		a, log := newRemote(t, l)
		for _, header := range []map[string]any{{"alg": "HS256", "kid": "k"}, {"alg": "HS256"}} {
			token := hmacToken(header, []byte("secret"))
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		}
		requireRejectedOnRetry(t, a, edSigner("k").token(claims()))
		require.Contains(t, log.String(), "key 1: a symmetric key")
		require.NotContains(t, log.String(), "c2VjcmV0")
	})
}
