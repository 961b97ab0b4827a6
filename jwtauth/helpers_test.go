package jwtauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

const (
	jwksURL  = "https://login.test/jwks.json"
	issuer   = "https://login.test/"
	audience = "https://charges.test"
)

// now is the clock of the authorizers, where a test has no other. It is also
// when the time in a synctest bubble starts.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// signer is a key of a login server, both halves.
type signer struct {
	kid     string
	private crypto.Signer
}

// rsaKey takes a while to make, so that the tests share two.
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

// jwk is the public half as a member of a JWKS. More members can be added to it.
func (s signer) jwk() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	var m map[string]any
	switch key := s.private.Public().(type) {
	case *rsa.PublicKey:
		m = map[string]any{"kty": "RSA", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 0x04, then both coordinates
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

// and returns a copy of m in which members are set, or left out where nil.
func and(m map[string]any, members ...any) map[string]any {
	m = maps.Clone(m)
	for i := 0; i < len(members); i += 2 {
		if name := members[i].(string); members[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = members[i+1]
		}
	}
	return m
}

// jwks is a key set as a login server answers it.
func jwks(keys ...map[string]any) string {
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// claims are those of a good token, with members set as by and.
func claims(members ...any) map[string]any {
	return and(map[string]any{
		"iss": issuer, "aud": audience, "sub": "checkout", "exp": now.Add(time.Hour).Unix(),
		"permissions": []string{"METER_DATA.INGEST"}, "platforms": []string{"acme"},
	}, members...)
}

// algorithmOf is the usual algorithm of a key.
func algorithmOf(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RS256"
	case *ecdsa.PublicKey:
		return map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.Curve.Params().Name]
	}
	return "EdDSA"
}

// token signs claims, with members of the header set as by and. Its algorithm
// is that of the header.
func (s signer) token(claims map[string]any, header ...any) string {
	h := map[string]any{"typ": "JWT", "alg": algorithmOf(s.private.Public())}
	if s.kid != "" {
		h["kid"] = s.kid
	}
	return s.sign(and(h, header...), encoded(claims))
}

// sign signs a header and a payload, encoded already, whatever the header says.
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

// encoded is a part of a token.
func encoded(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// config is one that a test changes where it has to.
func config(keys ...signer) jwtauth.Config {
	c := jwtauth.Config{
		Issuer: issuer, Audiences: []string{audience}, Now: func() time.Time { return now },
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, k := range keys {
		c.Keys = append(c.Keys, k.key())
	}
	return c
}

func newAuthorizer(t *testing.T, cfg jwtauth.Config) *jwtauth.Authorizer {
	t.Helper()
	a, err := jwtauth.New(t.Context(), cfg)
	require.NoError(t, err)
	return a
}

// request is one with a Bearer token.
func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func authorize(a chargeingest.Authorizer, token string) error {
	_, err := a.Authorize(request(token), chargeingest.PermissionIngest)
	return err
}

// requireRefused holds an error to what it may be, and to say nothing of the
// token.
func requireRefused(t *testing.T, err, want error, token string) {
	t.Helper()
	require.ErrorIs(t, err, want)
	for part := range strings.SplitSeq(token, ".") {
		text, _ := base64.RawURLEncoding.DecodeString(part)
		for _, word := range append(strings.FieldsFunc(string(text), isJSONSyntax), part) {
			if len(word) > 8 {
				require.NotContains(t, err.Error(), word)
			}
		}
	}
}

func isJSONSyntax(r rune) bool { return strings.ContainsRune(`{}[]",:`, r) }

// requireUnavailable holds an error to be none of the sentinels: a 503.
func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{chargeingest.ErrNoCredential, chargeingest.ErrInvalidCredential, chargeingest.ErrForbidden} {
		require.NotErrorIs(t, err, sentinel)
	}
}

// requireSuppressed holds an error to be that of a token that no known key verifies,
// while the keys may not be fetched again. It returns when they may.
func requireSuppressed(t *testing.T, err error) time.Duration {
	t.Helper()
	requireUnavailable(t, err)
	require.ErrorContains(t, err, "the next fetch of keys is not due yet")
	var timed interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &timed)
	require.Positive(t, timed.RetryAfter())
	return timed.RetryAfter()
}

// requireRefusedLater sends a token of an unknown key, twice: the second time when
// it was told to. It needs a bubble.
func requireRefusedLater(t *testing.T, a chargeingest.Authorizer, token string) {
	t.Helper()
	pass(requireSuppressed(t, authorize(a, token)))
	requireRefused(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
}

// login is a login server in memory, the Transport of an authorizer.
type login struct {
	mu      sync.Mutex
	answer  func(*http.Request) (*http.Response, error)
	fetches int
	others  []string // what was asked for beside the JWKS
}

func newLogin(keys ...signer) *login {
	l := new(login)
	l.has(keys...)
	return l
}

func (l *login) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	answer := l.answer
	if r.URL.String() == jwksURL {
		l.fetches++
	} else {
		l.others = append(l.others, r.URL.String())
	}
	l.mu.Unlock()
	return answer(r)
}

// does sets what the server does from now on.
func (l *login) does(answer func(*http.Request) (*http.Response, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

// says sets what the server answers from now on.
func (l *login) says(status int, body string) {
	l.does(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}, nil
	})
}

func (l *login) has(keys ...signer) {
	var set []map[string]any
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	l.says(http.StatusOK, jwks(set...))
}

func (l *login) isDown() {
	l.does(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
}

// hangs answers nothing until the other side gives up.
func (l *login) hangs() {
	l.does(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

// count returns the fetches since it was asked last.
func (l *login) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.fetches
	l.fetches = 0
	return n
}

// logged is a log that can be read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// remote is an authorizer whose keys are those of a login server, and whose
// refresh ends with the test.
func remote(t *testing.T, l *login, change ...func(*jwtauth.Config)) (*jwtauth.Authorizer, *logged) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	log := new(logged)
	cfg := config()
	cfg.JWKSURL, cfg.Transport, cfg.Logger = jwksURL, l, slog.New(slog.NewTextHandler(log, nil))
	for _, c := range change {
		c(&cfg)
	}
	a, err := jwtauth.New(ctx, cfg)
	require.NoError(t, err)
	return a, log
}
