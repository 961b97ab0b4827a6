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

// now is when a synctest bubble starts.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

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

// with returns a copy of m with changed fields. A nil value removes the field.
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

// claims returns valid claims with changes.
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

// token signs claims with the alg of the changed header.
func (s signer) token(claims map[string]any, header ...any) string {
	h := map[string]any{"typ": "JWT", "alg": algorithmOf(s.private.Public())}
	if s.kid != "" {
		h["kid"] = s.kid
	}
	return s.sign(with(h, header...), encoded(claims))
}

// sign signs an encoded payload, even if the alg of the header is not supported.
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

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/ingest/charge-data", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func authorize(a chargeingest.Authorizer, token string) error {
	_, err := a.Authorize(request(token), chargeingest.PermissionIngest)
	return err
}

// requireRejected checks that err wraps want and contains nothing of the token.
func requireRejected(t *testing.T, err, want error, token string) {
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

func requireUnavailable(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{chargeingest.ErrNoCredential, chargeingest.ErrInvalidCredential, chargeingest.ErrForbidden} {
		require.NotErrorIs(t, err, sentinel)
	}
}

func requireFetchNotDue(t *testing.T, err error) time.Duration {
	t.Helper()
	requireUnavailable(t, err)
	require.ErrorContains(t, err, "the next fetch of the JWKS is not due yet")
	var timed interface{ RetryAfter() time.Duration }
	require.ErrorAs(t, err, &timed)
	require.Positive(t, timed.RetryAfter())
	return timed.RetryAfter()
}

func requireRejectedOnRetry(t *testing.T, a chargeingest.Authorizer, token string) {
	t.Helper()
	advance(requireFetchNotDue(t, authorize(a, token)))
	requireRejected(t, authorize(a, token), chargeingest.ErrInvalidCredential, token)
}

type loginServer struct {
	mu        sync.Mutex
	handler   func(*http.Request) (*http.Response, error)
	fetches   int
	otherURLs []string
}

func newLoginServer(keys ...signer) *loginServer {
	l := new(loginServer)
	l.serveKeys(keys...)
	return l
}

func (l *loginServer) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	handler := l.handler
	if r.URL.String() == jwksURL {
		l.fetches++
	} else {
		l.otherURLs = append(l.otherURLs, r.URL.String())
	}
	l.mu.Unlock()
	return handler(r)
}

func (l *loginServer) handle(handler func(*http.Request) (*http.Response, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = handler
}

func (l *loginServer) respond(status int, body string) {
	l.handle(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body))}, nil
	})
}

func (l *loginServer) serveKeys(keys ...signer) {
	var set []map[string]any
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	l.respond(http.StatusOK, jwks(set...))
}

func (l *loginServer) goDown() {
	l.handle(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
}

func (l *loginServer) hang() {
	l.handle(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
}

func (l *loginServer) takeFetches() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.fetches
	l.fetches = 0
	return n
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRemote(t *testing.T, l *loginServer, change ...func(*jwtauth.Config)) (*jwtauth.Authorizer, *logBuffer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	log := new(logBuffer)
	cfg := config()
	cfg.JWKSURL, cfg.Transport, cfg.Logger = jwksURL, l, slog.New(slog.NewTextHandler(log, nil))
	for _, c := range change {
		c(&cfg)
	}
	a, err := jwtauth.New(ctx, cfg)
	require.NoError(t, err)
	return a, log
}
