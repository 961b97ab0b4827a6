package jwtauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"example.com/chargeingest/jwtauth"
)

type signer struct {
	kid     string
	private crypto.Signer
}

var rsaKey, otherRSAKey = sync.OnceValue(makeRSAKey), sync.OnceValue(makeRSAKey)

func makeRSAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func rsaSigner(kid string) signer { return signer{kid, rsaKey()} }

func ecSigner(kid string, curve elliptic.Curve) signer {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return signer{kid, key}
}

func edSigner(kid string) signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return signer{kid, key}
}

func (s signer) key() jwtauth.Key { return jwtauth.Key{ID: s.kid, Public: s.private.Public()} }

func (s signer) jwk() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	var m map[string]any
	switch key := s.private.Public().(type) {
	case *rsa.PublicKey:
		m = map[string]any{"kty": "RSA", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		m = map[string]any{"kty": "EC", "crv": key.Curve.Params().Name, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:])}
	case ed25519.PublicKey:
		m = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(key)}
	}
	if s.kid != "" {
		m["kid"] = s.kid
	}
	return m
}

// A nil value removes the field.
func with(m map[string]any, changes ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(changes); i += 2 {
		if name := changes[i].(string); changes[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = changes[i+1]
		}
	}
	return m
}

func jwks(keys ...map[string]any) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func claims(changes ...any) map[string]any {
	return with(map[string]any{
		"iss": issuer, "aud": audience, "sub": "checkout", "exp": now.Add(time.Hour).Unix(),
		"permissions": []string{"METER_DATA.INGEST"}, "platforms": []string{"acme"},
	}, changes...)
}

func algorithmOf(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		return map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Curve.Params().Name]
	}
	return "EdDSA"
}

func (s signer) token(claims map[string]any, header ...any) string {
	h := map[string]any{"typ": "JWT", "alg": algorithmOf(s.private.Public())}
	if s.kid != "" {
		h["kid"] = s.kid
	}
	return s.sign(with(h, header...), encoded(claims))
}

func (s signer) sign(header map[string]any, payload string) string {
	text := encoded(header) + "." + payload
	alg, _ := header["alg"].(string)
	method := jwt.GetSigningMethod(alg)
	if method == nil || alg == "none" || strings.HasPrefix(alg, "HS") {
		method = jwt.GetSigningMethod(algorithmOf(s.private.Public()))
	}
	signature, err := method.Sign(text, s.private)
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func encoded(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func longLived(changes ...any) map[string]any {
	return claims(append([]any{"exp", now.Add(1000 * time.Hour).Unix()}, changes...)...)
}

func randomRSA(bits, exponent int) *rsa.PublicKey {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	if err != nil {
		panic(err)
	}
	return &rsa.PublicKey{N: n.SetBit(n, bits-1, 1).SetBit(n, 0, 1), E: exponent}
}

func viewClaims() map[string]any { return longLived("permissions", []string{"METER_DATA.VIEW"}) }

func (s signer) signRaw(header, claims string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	signature, err := s.private.Sign(nil, []byte(text), crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return text + "." + b64(signature)
}

func keysOfSizes(bits ...int) (keys []jwtauth.Key) {
	for _, n := range bits {
		keys = append(keys, jwtauth.Key{Public: randomRSA(n, 65537)})
	}
	return keys
}

func onP224() *ecdsa.PublicKey { return ecSigner("k", elliptic.P224()).key().Public.(*ecdsa.PublicKey) }
