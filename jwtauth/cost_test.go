package jwtauth_test

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

// forged is a token that nobody signed, whose payload is any text.
func forged(header, payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + b64(make([]byte, 64))
}

// manyLists and manyObjects are about as many as a token has room for.
var (
	manyLists   = `{"x":[` + strings.Repeat("[],", 1900) + `0]}`
	manyObjects = `{"x":` + strings.Repeat(`{"":`, 1100) + "0" + strings.Repeat("}", 1101)
	manyMembers = `{` + strings.Repeat(`"":0,`, 1100) + `"x":0}`
)

func TestATokenThatNobodySignedMakesNoMoreGarbageForWhatItHolds(t *testing.T) {
	const header = `{"alg":"EdDSA","kid":"k"}`
	a := newAuthorizer(t, config(edSigner("k")))
	allocations := func(token string) float64 {
		r := request(token)
		requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
		return testing.AllocsPerRun(20, func() { _, _ = a.Authorize(r, chargeingest.PermissionIngest) })
	}
	few := allocations(forged(header, "{}"))
	for name, token := range map[string]string{
		"lists in its claims":   forged(header, manyLists),
		"objects in its claims": forged(header, manyObjects),
		"members in its claims": forged(header, manyMembers),
		"lists in its header":   forged(manyLists, "{}"),
		"objects in its header": forged(manyObjects, "{}"),
		"members in its header": forged(manyMembers, "{}"),
		"an unknown kid":        forged(`{"alg":"EdDSA","kid":"x"}`, manyLists),
		"no kid":                forged(`{"alg":"EdDSA"}`, manyLists),
	} {
		t.Run(name, func(t *testing.T) { require.LessOrEqual(t, allocations(token), 1.5*few) })
	}
}

func TestAHeaderHoldsUpTo64Values(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	a := newAuthorizer(t, config(s))
	// Beside the list: the object, and the commas between its four members.
	list := func(n int) string { return s.token(claims(), "x", make([]int, n)) }
	require.NoError(t, authorize(a, list(60)))
	token := list(61)
	requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
	require.ErrorContains(t, authorize(a, token), "its header holds too much")
}

// randomRSA is a public key that is as good as another for tokens that it did
// not sign, and takes no time to make.
func randomRSA(bits, exponent int) *rsa.PublicKey {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		panic(err)
	}
	return &rsa.PublicKey{N: n.SetBit(n, bits-1, 1).SetBit(n, 0, 1), E: exponent}
}

// BenchmarkRefused is what tokens cost that anybody can send, beside one that is
// accepted.
func BenchmarkRefused(b *testing.B) {
	rs, ec, ed := rsaSigner("rsa"), ecSigner("ec", elliptic.P256()), edSigner("ed")
	swapped := func(s signer) string { // the signature of another token
		one, other := s.token(claims()), s.token(claims("sub", "other"))
		return one[:strings.LastIndex(one, ".")] + other[strings.LastIndex(other, "."):]
	}
	a, err := jwtauth.New(b.Context(), config(rs, ec, ed))
	require.NoError(b, err)
	const unknown = `{"alg":"EdDSA","kid":"unknown"}`
	for _, c := range []struct{ name, token string }{
		{"accepted Ed25519", ed.token(claims())},
		{"accepted RS256", rs.token(claims())},
		{"no JWT", strings.Repeat("a", 8<<10)},
		{"too long", strings.Repeat("a", 12<<10)},
		{"lists in the header", forged(manyLists, "{}")},
		{"members in the header", forged(manyMembers, "{}")},
		{"none", encoded(map[string]any{"alg": "none"}) + "." + encoded(claims()) + "."},
		{"unknown kid", ed.token(claims(), "kid", "unknown")},
		{"unknown kid, lists in the claims", forged(unknown, manyLists)},
		{"unknown kid, objects in the claims", forged(unknown, manyObjects)},
		{"unknown kid, members in the claims", forged(unknown, manyMembers)},
		{"signature of Ed25519", swapped(ed)},
		{"signature of ES256", swapped(ec)},
		{"signature of RS256", swapped(rs)},
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

// BenchmarkForged measures forged RS256 tokens, which cost a verification for
// each key that could have signed them.
func BenchmarkForged(b *testing.B) {
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
					signature[1] = 1 // less than the modulus
					r := request(encoded(and(map[string]any{"alg": "RS256"}, "kid", kid)) + "." + encoded(claims()) + "." +
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
