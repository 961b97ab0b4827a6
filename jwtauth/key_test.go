package jwtauth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

func smallOrder(t *testing.T) map[string]ed25519.PublicKey {
	keys := make(map[string]ed25519.PublicKey)
	for name, text := range map[string]string{
		"all zeros":    "0000000000000000000000000000000000000000000000000000000000000000",
		"one":          "0100000000000000000000000000000000000000000000000000000000000000",
		"order 8":      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, -y":  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"p - 1":        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"p, for 0":     "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"p + 1, for 1": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		y, err := hex.DecodeString(text)
		require.NoError(t, err)
		keys[name] = y
		negative := append(ed25519.PublicKey{}, y...)
		negative[31] |= 0x80
		keys[name+", x negative"] = negative
	}
	require.Len(t, keys, 14)
	return keys
}

func TestSmallOrderKeys(t *testing.T) {
	t.Parallel()
	for name, key := range smallOrder(t) {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			cfg.Keys = []jwtauth.Key{{ID: "k", Public: key}}
			_, err := jwtauth.New(t.Context(), cfg)
			require.ErrorContains(t, err, "Config.Keys[0]: an Ed25519 key of small order")

			synctest.Test(t, func(t *testing.T) {
				l, other := newLoginServer(), edSigner("other")
				l.respond(http.StatusOK, jwks(other.jwk(), map[string]any{
					"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": base64.RawURLEncoding.EncodeToString(key),
				}))
				a, log := newRemote(t, l)
				require.NoError(t, authorize(a, other.token(claims())))
				require.Contains(t, log.String(), "key 1: an Ed25519 key of small order")
				alwaysValid := base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 63)...))
				var tokens []string
				for i := range 64 {
					tokens = append(tokens, encoded(map[string]any{"alg": "EdDSA", "kid": "k"})+"."+encoded(claims("jti", i))+"."+alwaysValid)
					requireFetchNotDue(t, authorize(a, tokens[i]))
				}
				advance(10 * time.Second)
				for _, token := range tokens {
					require.ErrorIs(t, authorize(a, token), chargeingest.ErrInvalidCredential)
				}
			})
		})
	}
}

func TestRSAExponents(t *testing.T) {
	t.Parallel()
	rs, other := rsaSigner("k"), edSigner("other")
	for name, c := range map[string]struct {
		exponent *big.Int
		ok       bool
	}{
		"1":            {big.NewInt(1), false},
		"2":            {big.NewInt(2), false},
		"65537":        {big.NewInt(65537), true},
		"2^24 + 1":     {big.NewInt(1<<24 + 1), false},
		"2^64 + 65537": {new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), big.NewInt(65537)), false},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoginServer()
			l.respond(http.StatusOK, jwks(other.jwk(), with(rs.jwk(), "e", base64.RawURLEncoding.EncodeToString(c.exponent.Bytes()))))
			a, log := newRemote(t, l)
			require.NoError(t, authorize(a, other.token(claims())))
			require.Equal(t, c.ok, authorize(a, rs.token(claims())) == nil)
			require.Equal(t, !c.ok, strings.Contains(log.String(), "key 1: "), log)
		})
	}
}
