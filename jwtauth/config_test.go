package jwtauth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/jwtauth"
)

func TestInvalidConfig(t *testing.T) {
	t.Parallel()
	const badURL = "Config.JWKSURL must be an https URL"
	remote := func(url string) func(*jwtauth.Config) {
		return func(c *jwtauth.Config) { c.Keys, c.JWKSURL = nil, url }
	}
	key := func(public any) func(*jwtauth.Config) {
		return func(c *jwtauth.Config) { c.Keys = append(c.Keys, jwtauth.Key{ID: "x", Public: public}) }
	}
	p256 := ecSigner("k", elliptic.P256()).key().Public.(*ecdsa.PublicKey)
	point, err := p256.Bytes()
	require.NoError(t, err)
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	large := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}
	even := &rsa.PublicKey{N: rsaKey().N, E: 65536}
	for _, c := range []struct {
		name   string
		change func(*jwtauth.Config)
		want   string
	}{
		{"no keys", func(c *jwtauth.Config) { c.Keys = nil }, "exactly one of Config.JWKSURL and Config.Keys"},
		{"keys and a URL", func(c *jwtauth.Config) { c.JWKSURL = jwksURL }, "exactly one of Config.JWKSURL and Config.Keys"},
		{"no audience", func(c *jwtauth.Config) { c.Audiences = nil }, "Config.Audiences is required"},
		{"an empty audience", func(c *jwtauth.Config) { c.Audiences = []string{"a", ""} }, "Config.Audiences contains an empty string"},
		{"an empty type", func(c *jwtauth.Config) { c.TokenTypes = []string{"at+jwt", ""} }, "Config.TokenTypes contains an empty string"},
		{"an audience and any audience", func(c *jwtauth.Config) { c.AnyAudience = true }, "Config.Audiences and Config.AnyAudience"},
		{"a platform and a claim", func(c *jwtauth.Config) { c.Platform, c.PlatformsClaim = "p", "c" }, "Config.Platform and Config.PlatformsClaim"},
		{"an invalid platform", func(c *jwtauth.Config) { c.Platform = "\n" }, "Config.Platform must have"},
		{"a platform with U+FFFD", func(c *jwtauth.Config) { c.Platform = "a\ufffd" }, "Config.Platform must have"},
		{"a platform that is not UTF-8", func(c *jwtauth.Config) { c.Platform = "a\xff" }, "Config.Platform must have"},
		{"a negative leeway", func(c *jwtauth.Config) { c.Leeway = -1 }, "Config.Leeway must not be negative"},
		{"a long leeway", func(c *jwtauth.Config) { c.Leeway = 10*time.Minute + 1 }, "Config.Leeway must be at most 10 minutes"},
		{"a negative refresh", func(c *jwtauth.Config) { c.RefreshInterval = -1 }, "Config.RefreshInterval must be at least a second"},
		{"a short refresh", func(c *jwtauth.Config) { c.RefreshInterval = time.Second - 1 }, "Config.RefreshInterval must be at least a second"},
		{"a negative fetch interval", func(c *jwtauth.Config) { c.MinFetchInterval = -1 }, "Config.MinFetchInterval must be at least a second"},
		{"a short fetch interval", func(c *jwtauth.Config) { c.MinFetchInterval = time.Second - 1 }, "Config.MinFetchInterval must be at least a second"},
		{"a refresh below the fetch interval", func(c *jwtauth.Config) { c.RefreshInterval, c.MinFetchInterval = time.Second, time.Minute }, "Config.RefreshInterval must be at least Config.MinFetchInterval"},
		{"none", func(c *jwtauth.Config) { c.Algorithms = []string{"RS256", "none"} }, `Config.Algorithms contains "none"`},
		{"a shared secret", func(c *jwtauth.Config) { c.Algorithms = []string{"HS256"} }, `Config.Algorithms contains "HS256"`},
		{"an empty algorithm", func(c *jwtauth.Config) { c.Algorithms = []string{""} }, `Config.Algorithms contains ""`},
		{"two algorithms in one", func(c *jwtauth.Config) { c.Algorithms = []string{"RS256, RS384"} }, `Config.Algorithms contains "RS256, RS384"`},
		{"a key that suits no algorithm", func(c *jwtauth.Config) { c.Algorithms = []string{"RS256"} }, "Config.Keys[0]: the key suits none"},
		{"a key with an unsupported algorithm", func(c *jwtauth.Config) { c.Keys[0].Algorithm = "HS256" }, "Config.Keys[0]: the key suits none"},
		{"a key with the algorithm of another type", func(c *jwtauth.Config) { c.Keys[0].Algorithm = "RS256" }, "Config.Keys[0]: the key suits none"},
		{"a curve without an allowed algorithm", key(ecSigner("k", elliptic.P384()).key().Public), "Config.Keys[1]: the key suits none"},
		{"a long ID", func(c *jwtauth.Config) { c.Keys[0].ID = strings.Repeat("k", 257) }, "Config.Keys[0]: the ID"},
		{"a key without a key", key(nil), "Config.Keys[1]: type <nil> is not supported; pass the public key"},
		{"a shared secret as a key", key([]byte("secret")), "Config.Keys[1]: type []uint8 is not supported; pass the public key"},
		{"a private key", key(rsaKey()), "Config.Keys[1]: type *rsa.PrivateKey is not supported; pass the public key"},
		{"a small RSA key", key(small), "Config.Keys[1]: not an RSA key of 2048 to 8192 bits"},
		{"a large RSA key", key(large), "Config.Keys[1]: not an RSA key of 2048 to 8192 bits"},
		{"an even exponent", key(even), "Config.Keys[1]: not an RSA key"},
		{"an exponent of 1", key(&rsa.PublicKey{N: rsaKey().N, E: 1}), "Config.Keys[1]: not an RSA key"},
		{"a large exponent", key(&rsa.PublicKey{N: rsaKey().N, E: 1<<24 + 1}), "Config.Keys[1]: not an RSA key"},
		{"the largest exponent", key(&rsa.PublicKey{N: rsaKey().N, E: math.MaxInt}), "Config.Keys[1]: not an RSA key"},
		{"a negative exponent", key(&rsa.PublicKey{N: rsaKey().N, E: -3}), "Config.Keys[1]: not an RSA key"},
		{"an RSA key that is nil", key((*rsa.PublicKey)(nil)), "Config.Keys[1]: not an RSA key"},
		{"an ECDSA key that is nil", key((*ecdsa.PublicKey)(nil)), "Config.Keys[1]: an ECDSA key without a curve"},
		{"a curve without a point", key(&ecdsa.PublicKey{Curve: elliptic.P256()}), "Config.Keys[1]: an ECDSA key without a curve or a point"},
		{"half a point", key(&ecdsa.PublicKey{Curve: elliptic.P256(), X: p256.X}), "Config.Keys[1]: an ECDSA key without a curve or a point"},           //nolint:staticcheck // the key must be invalid
		{"a negative coordinate", key(&ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).Neg(p256.X), Y: p256.Y}), "Config.Keys[1]: not a point"}, //nolint:staticcheck // the key must be invalid
		{"an unsupported curve", key(onP224()), "Config.Keys[1]: not a point on P-256"},
		{"a point of another curve", key(&ecdsa.PublicKey{Curve: elliptic.P384(), X: new(big.Int).SetBytes(point[1:33]), Y: new(big.Int).SetBytes(point[33:])}), "Config.Keys[1]: not a point"}, //nolint:staticcheck // the key must be invalid
		{"a short Ed25519 key", key(ed25519.PublicKey{1, 2, 3}), "Config.Keys[1]: not an Ed25519 key"},
		{"http", remote("http://login.test/jwks.json"), badURL},
		{"http to a host with a loopback prefix", remote("http://127.0.0.1.evil.test/"), badURL},
		{"http to the next network", remote("http://128.0.0.1/"), badURL},
		{"a file", remote("file:///etc/jwks.json"), badURL},
		{"no scheme", remote("login.test/jwks.json"), badURL},
		{"no host", remote("https:///jwks.json"), badURL},
		{"a port without a host", remote("https://:443/jwks.json"), badURL},
		{"a password", remote("https://user:password@login.test/"), badURL},
		{"a fragment", remote("https://login.test/#keys"), badURL},
		{"not a URL", remote("https://login.test/%zz"), badURL},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(edSigner("k"))
			c.change(&cfg)
			a, err := jwtauth.New(t.Context(), cfg)
			require.Nil(t, a)
			require.ErrorContains(t, err, "jwtauth: ")
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "password")
		})
	}
}

func TestAllowedURLs(t *testing.T) {
	t.Parallel()
	for url, allow := range map[string]bool{
		"https://login.test/jwks.json?tenant=1": false, "http://127.0.0.1:1/": false, "http://127.9.9.9/": false,
		"http://[::1]:80/": false, "http://localhost:8080/realms/x": false, "http://keycloak:8080/": true,
	} {
		cfg := config()
		cfg.JWKSURL, cfg.AllowHTTP, cfg.Transport = url, allow, newLoginServer(edSigner("k"))
		_, err := jwtauth.New(t.Context(), cfg)
		require.NoError(t, err, url)
	}
}

func TestIntervalDefaults(t *testing.T) {
	t.Parallel()
	for _, c := range []jwtauth.Config{{RefreshInterval: time.Second}, {MinFetchInterval: time.Hour}} {
		cfg := config(edSigner("k"))
		cfg.RefreshInterval, cfg.MinFetchInterval = c.RefreshInterval, c.MinFetchInterval
		_, err := jwtauth.New(t.Context(), cfg)
		require.NoError(t, err)
	}
}

func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	s := edSigner("k")
	cfg := config(s)
	cfg.Algorithms = []string{"EdDSA"}
	a := newAuthorizer(t, cfg)
	cfg.Algorithms[0], cfg.Audiences[0], cfg.Keys[0] = "RS256", "other", jwtauth.Key{}
	require.NoError(t, authorize(a, s.token(claims())))
}
