package jwtauth_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func hmacToken(header map[string]any, secret []byte) string {
	text := encoded(header) + "." + encoded(claims())
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// secretForms are encodings of a public key that a broken verifier uses as an HMAC secret.
func secretForms(t *testing.T, key crypto.PublicKey) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return map[string][]byte{"DER": der, "PEM": text, "PEM without its last line break": []byte(strings.TrimSpace(string(text)))}
}

// flipUnusedBit changes a bit that lax decoders ignore.
func flipUnusedBit(part string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, part[len(part)-1])
	return part[:len(part)-1] + alphabet[last^1:last^1+1]
}

func invalidClaims(rs signer) map[string]string {
	return map[string]string{
		"expired":                         rs.token(claims("exp", now.Add(-time.Minute).Unix())),
		"expired since 1970":              rs.token(claims("exp", 1)),
		"without exp":                     rs.token(claims("exp", nil)),
		"exp is 0":                        rs.token(claims("exp", 0)),
		"exp is negative":                 rs.token(claims("exp", -1)),
		"exp is null":                     rs.token(with(claims(), "exp", []any(nil))),
		"exp is a string":                 rs.token(claims("exp", "9999999999")),
		"exp in milliseconds":             rs.token(claims("exp", now.Add(time.Hour).UnixMilli())),
		"exp overflows":                   rs.token(claims("exp", 1e300)),
		"not yet valid":                   rs.token(claims("nbf", now.Add(time.Minute).Unix())),
		"nbf is negative":                 rs.token(claims("nbf", -1)),
		"nbf overflows":                   rs.token(claims("nbf", 1e300)),
		"nbf is a string":                 rs.token(claims("nbf", "soon")),
		"for another audience":            rs.token(claims("aud", "https://other.test")),
		"for an audience with our prefix": rs.token(claims("aud", audience+"/")),
		"without an audience":             rs.token(claims("aud", nil)),
		"for an empty audience":           rs.token(claims("aud", "")),
		"for an empty list":               rs.token(claims("aud", []string{})),
		"aud is an object":                rs.token(claims("aud", map[string]any{audience: true})),
		"aud has ours and a number":       rs.token(claims("aud", []any{audience, 1})),
		"from another issuer":             rs.token(claims("iss", "https://other.test/")),
		"without an issuer":               rs.token(claims("iss", nil)),
		"iss is a list":                   rs.token(claims("iss", []string{issuer})),
	}
}

func invalidAlgorithms(t *testing.T, rs, ec signer) map[string]string {
	payload := encoded(claims())
	tokens := map[string]string{
		"none, not signed":                    encoded(map[string]any{"alg": "none"}) + "." + payload + ".",
		"none, not signed, with our kid":      encoded(map[string]any{"alg": "none", "kid": "rsa"}) + "." + payload + ".",
		"none, signed":                        rs.token(claims(), "alg", "none"),
		"None":                                rs.token(claims(), "alg", "None"),
		"nOnE, not signed":                    encoded(map[string]any{"alg": "nOnE"}) + "." + payload + ".",
		"no alg":                              rs.token(claims(), "alg", nil),
		"alg is empty":                        rs.token(claims(), "alg", ""),
		"alg is a number":                     rs.token(claims(), "alg", 256),
		"alg is a list":                       rs.token(claims(), "alg", []string{"RS256"}),
		"alg in another case":                 rs.token(claims(), "alg", "rs256"),
		"an algorithm that is not accepted":   rs.token(claims(), "alg", "RS512"),
		"not the algorithm of the key":        signer{"with-alg", rsaKey()}.token(claims(), "alg", "PS256"),
		"an algorithm of another type of key": ec.token(claims(), "kid", "rsa"),
		"an algorithm of another curve":       ec.token(claims(), "kid", "p384"),
		"HS256 with an empty secret":          hmacToken(map[string]any{"alg": "HS256", "kid": "rsa"}, nil),
	}
	for name, secret := range secretForms(t, rs.private.Public()) {
		tokens["HS256 with the public key as "+name] = hmacToken(map[string]any{"alg": "HS256", "kid": "rsa"}, secret)
		tokens["HS256 with the public key as "+name+", without a kid"] = hmacToken(map[string]any{"alg": "HS256"}, secret)
	}
	return tokens
}

func invalidSignatures(rs, stranger signer) map[string]string {
	good := rs.token(claims())
	parts := strings.Split(good, ".")
	uneven := encoded(claims())
	for padding := ""; len(uneven)%4 == 0; padding += "x" {
		uneven = encoded(claims("padding", padding))
	}
	return map[string]string{
		"without a signature":               parts[0] + "." + parts[1] + ".",
		"the signature is changed":          parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"the signature is cut":              good[:len(good)-4],
		"the signature is longer":           good + "AAAA",
		"the signature is of another token": strings.Join([]string{parts[0], encoded(claims("sub", "root")), parts[2]}, "."),
		"the signature in another encoding": strings.Join([]string{parts[0], parts[1], flipUnusedBit(parts[2])}, "."),
		"the header is of another token":    strings.Join([]string{encoded(map[string]any{"alg": "RS256", "kid": "with-alg"}), parts[1], parts[2]}, "."),
		"signed with another key":           stranger.token(claims()),
		"the payload in another encoding":   rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"}, flipUnusedBit(uneven)),
		"the payload is empty":              rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"}, ""),
		"the payload is null":               rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"}, encoded(nil)),
		"the payload is a list":             rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"}, encoded([]any{claims()})),
		"the payload is not JSON":           rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"}, "aGVsbG8gd29ybGQ"),
		"a number that is too large": rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"},
			base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1`+strings.Repeat("0", 400)+"}"))),
		"the payload nests deeply": rs.sign(map[string]any{"alg": "RS256", "kid": "rsa"},
			base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 4000)))),
	}
}

func invalidHeaders(rs, stranger signer) map[string]string {
	return map[string]string{
		"crit":                            rs.token(claims(), "crit", []string{"exp"}),
		"crit with b64":                   rs.token(claims(), "crit", []string{"b64"}, "b64", false),
		"crit is empty":                   rs.token(claims(), "crit", []string{}),
		"a kid that is unknown":           rs.token(claims(), "kid", "unknown-key-id"),
		"a kid in another case":           rs.token(claims(), "kid", "RSA"),
		"a kid that is empty":             rs.token(claims(), "kid", ""),
		"a kid that is a number":          rs.token(claims(), "kid", 1),
		"a kid that is a list":            rs.token(claims(), "kid", []string{"rsa"}),
		"a kid that is a path":            rs.token(claims(), "kid", "../../../../../../dev/null"),
		"a kid that is SQL":               rs.token(claims(), "kid", "rsa' UNION SELECT 'secret"),
		"a kid that is a URL":             rs.token(claims(), "kid", "https://evil.test/jwks.json"),
		"a kid with a zero byte":          rs.token(claims(), "kid", "rsa\x00"),
		"a kid with a line break":         rs.token(claims(), "kid", "rsa\nlevel=ERROR"),
		"a kid of 257 bytes":              rs.token(claims(), "kid", strings.Repeat("k", 257)),
		"a kid of 5,000 bytes":            rs.token(claims(), "kid", strings.Repeat("k", 5000)),
		"no kid, signed with another key": stranger.token(claims(), "kid", nil),
		"an embedded key":                 stranger.token(claims(), "jwk", stranger.jwk()),
		"an embedded key, no kid":         stranger.token(claims(), "kid", nil, "jwk", stranger.jwk()),
	}
}

func TestInvalidTokens(t *testing.T) {
	t.Parallel()
	rs, ec, stranger := rsaSigner("rsa"), ecSigner("ec", elliptic.P256()), signer{"rsa", otherRSAKey()}
	cfg := config(rs, ec, ecSigner("p384", elliptic.P384()), rsaSigner("with-alg"))
	cfg.Keys[3].Algorithm = "RS256"
	cfg.Algorithms = []string{"RS256", "PS256", "ES256", "ES384"}
	a := newAuthorizer(t, cfg)
	require.NoError(t, authorize(a, rs.token(claims())))
	require.NoError(t, authorize(a, ec.token(claims())))
	for _, tokens := range []map[string]string{
		invalidClaims(rs), invalidAlgorithms(t, rs, ec), invalidSignatures(rs, stranger), invalidHeaders(rs, stranger),
	} {
		for name, token := range tokens {
			t.Run(name, func(t *testing.T) {
				requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			})
		}
	}
}
