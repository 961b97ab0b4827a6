package jwtauth_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/jwtauth"
)

const (
	jwksURL  = "https://login.test/jwks.json"
	issuer   = "https://login.test/"
	audience = "https://charges.test"
)

var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

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

func requireRejected(t *testing.T, err, want error, token string) {
	t.Helper()
	require.ErrorIs(t, err, want)
	for part := range strings.SplitSeq(token, ".") {
		text, _ := base64.RawURLEncoding.DecodeString(part)
		for _, word := range append(strings.FieldsFunc(string(text), isJSONSyntax), part) {
			if len(word) > 8 && word != string(chargeingest.PermissionIngest) {
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

func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
