package jwtauth_test

import (
	"crypto/elliptic"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func TestKeysInHeaderAreIgnored(t *testing.T) {
	t.Parallel()
	real, stranger := edSigner("k"), edSigner("k")
	certificate := []string{base64.StdEncoding.EncodeToString([]byte("a certificate"))}
	l := newLoginServer(real)
	a, _ := newRemote(t, l)
	require.NoError(t, authorize(a, real.token(claims())))
	require.Equal(t, 1, l.takeFetches())
	for name, header := range map[string][]any{
		"jku":            {"jku", "https://evil.test/jwks.json"},
		"jku of ours":    {"jku", jwksURL},
		"x5u":            {"x5u", "https://evil.test/cert.pem"},
		"x5c":            {"x5c", certificate, "x5t", "AAAA", "x5t#S256", "AAAA"},
		"jwk":            {"jwk", stranger.jwk()},
		"all of them":    {"jku", "http://127.0.0.1/", "x5u", "file:///etc/passwd", "x5c", certificate, "jwk", stranger.jwk()},
		"of wrong types": {"jku", 1, "x5u", []int{2}, "x5c", "3", "jwk", "4"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, authorize(a, real.token(claims(), header...)), "ignored if the key is known")
			token := stranger.token(claims(), append(header, "kid", "k")...)
			requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
			requireFetchNotDue(t, authorize(a, stranger.token(claims(), append(header, "kid", nil)...)))
		})
	}
	require.Empty(t, l.otherURLs)
	require.Zero(t, l.takeFetches())
}

func TestMaxKeysTried(t *testing.T) {
	t.Parallel()
	var signers []signer
	for range 8 {
		signers = append(signers, edSigner("same"))
	}
	a := newAuthorizer(t, config(signers...))
	require.NoError(t, authorize(a, signers[7].token(claims(), "kid", nil)))
	require.NoError(t, authorize(a, signers[7].token(claims())), "keys may share an ID")

	signers = append(signers, edSigner(""))
	a = newAuthorizer(t, config(signers...))
	require.NoError(t, authorize(a, signers[0].token(claims())))
	token := signers[0].token(claims(), "kid", nil)
	requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)

	a = newAuthorizer(t, config(append(signers, rsaSigner("rsa"))...))
	require.NoError(t, authorize(a, rsaSigner("rsa").token(claims(), "kid", nil)), "keys of other types do not count")
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for alg, s := range map[string]signer{
		"RS256": rsaSigner("k"), "RS384": rsaSigner("k"), "RS512": rsaSigner("k"),
		"PS256": rsaSigner("k"), "PS384": rsaSigner("k"), "PS512": rsaSigner("k"),
		"ES256": ecSigner("k", elliptic.P256()), "ES384": ecSigner("k", elliptic.P384()), "ES512": ecSigner("k", elliptic.P521()),
		"EdDSA": edSigner("k"),
	} {
		t.Run(alg, func(t *testing.T) {
			cfg := config(s)
			cfg.Algorithms = []string{alg}
			a := newAuthorizer(t, cfg)
			p, err := a.Authorize(request(s.token(claims(), "alg", alg)), chargeingest.PermissionIngest)
			require.NoError(t, err)
			require.Equal(t, chargeingest.Principal{Subject: "checkout", Platforms: []string{"acme"}}, p)
			require.NoError(t, a.Ready(t.Context()), "configured keys are ready")
		})
	}
}

func TestMaxBitsTried(t *testing.T) {
	t.Parallel()
	const tooMany = "too many keys could have signed the token"
	rs := rsaSigner("")
	for _, c := range []struct {
		name string
		bits []int
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
