package jwtauth_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func unsignedToken(header, payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + b64(make([]byte, 64))
}

var (
	manyLists   = `{"x":[` + strings.Repeat("[],", 1900) + `0]}`
	manyObjects = `{"x":` + strings.Repeat(`{"":`, 1100) + "0" + strings.Repeat("}", 1101)
	manyFields  = `{` + strings.Repeat(`"":0,`, 1100) + `"x":0}`
)

func TestForgedTokenAllocations(t *testing.T) {
	const header = `{"alg":"EdDSA","kid":"k"}`
	a := newAuthorizer(t, config(edSigner("k")))
	allocations := func(token string) float64 {
		r := request(token)
		requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		return testing.AllocsPerRun(20, func() { _, _ = a.Authorize(r, chargeingest.PermissionIngest) })
	}
	few := allocations(unsignedToken(header, "{}"))
	for name, token := range map[string]string{
		"lists in its claims":   unsignedToken(header, manyLists),
		"objects in its claims": unsignedToken(header, manyObjects),
		"fields in its claims":  unsignedToken(header, manyFields),
		"lists in its header":   unsignedToken(manyLists, "{}"),
		"objects in its header": unsignedToken(manyObjects, "{}"),
		"fields in its header":  unsignedToken(manyFields, "{}"),
		"an unknown kid":        unsignedToken(`{"alg":"EdDSA","kid":"x"}`, manyLists),
		"no kid":                unsignedToken(`{"alg":"EdDSA"}`, manyLists),
	} {
		t.Run(name, func(t *testing.T) { require.LessOrEqual(t, allocations(token), 1.5*few) })
	}
}

func BenchmarkRejected(b *testing.B) {
	rs, ec, ed := rsaSigner("rsa"), ecSigner("ec", elliptic.P256()), edSigner("ed")
	withOtherSignature := func(s signer) string {
		one, other := s.token(claims()), s.token(claims("sub", "other"))
		return one[:strings.LastIndex(one, ".")] + other[strings.LastIndex(other, "."):]
	}
	a, err := jwtauth.New(b.Context(), config(rs, ec, ed))
	require.NoError(b, err)
	const unknown = `{"alg":"EdDSA","kid":"unknown"}`
	for _, c := range []struct{ name, token string }{
		{"accepted Ed25519", ed.token(claims())},
		{"accepted RS256", rs.token(claims())},
		{"not a JWT", strings.Repeat("a", 8<<10)},
		{"too long", strings.Repeat("a", 12<<10)},
		{"lists in the header", unsignedToken(manyLists, "{}")},
		{"fields in the header", unsignedToken(manyFields, "{}")},
		{"none", encoded(map[string]any{"alg": "none"}) + "." + encoded(claims()) + "."},
		{"unknown kid", ed.token(claims(), "kid", "unknown")},
		{"unknown kid, lists in the claims", unsignedToken(unknown, manyLists)},
		{"unknown kid, objects in the claims", unsignedToken(unknown, manyObjects)},
		{"unknown kid, fields in the claims", unsignedToken(unknown, manyFields)},
		{"signature of Ed25519", withOtherSignature(ed)},
		{"signature of ES256", withOtherSignature(ec)},
		{"signature of RS256", withOtherSignature(rs)},
		{"expired", ed.token(claims("exp", 1))},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := request(c.token)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = a.Authorize(r, chargeingest.PermissionIngest)
			}
		})
	}
}

func BenchmarkForgedSignature(b *testing.B) {
	for _, bits := range []int{2048, 4096, 8192} {
		for _, keys := range []int{1, 3, 8} {
			for _, kid := range []any{"key-0", nil} {
				b.Run(fmt.Sprintf("bits=%d/keys=%d/kid=%t", bits, keys, kid != nil), func(b *testing.B) {
					cfg := config()
					for i := range keys {
						cfg.Keys = append(cfg.Keys, jwtauth.Key{ID: fmt.Sprint("key-", i), Public: randomRSA(bits, 65537)})
					}
					a, err := jwtauth.New(b.Context(), cfg)
					require.NoError(b, err)
					signature := make([]byte, bits/8)
					signature[1] = 1
					r := request(encoded(with(map[string]any{"alg": "RS256"}, "kid", kid)) + "." + encoded(claims()) + "." +
						base64.RawURLEncoding.EncodeToString(signature))
					b.ReportAllocs()
					for b.Loop() {
						_, _ = a.Authorize(r, chargeingest.PermissionIngest)
					}
				})
			}
		}
	}
}
