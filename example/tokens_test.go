package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type loginServer struct {
	*httptest.Server
	private ed25519.PrivateKey
	typ     string
}

func startLogin(t *testing.T) *loginServer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	l := &loginServer{private: private, Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))}
	t.Cleanup(l.Close)
	return l
}

func (l *loginServer) token(t *testing.T, permissions string, extra ...string) string {
	t.Helper()
	claims := map[string]any{
		"iss": "login", "aud": "charges", "sub": "checkout", "exp": time.Now().Add(time.Hour).Unix(), "scope": permissions,
	}
	for i := 0; i < len(extra); i += 2 {
		claims[extra[i]] = extra[i+1]
	}
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	text := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"EdDSA","kid":"k","typ":%q}`, l.typ)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(l.private, []byte(text)))
}

func (s *runningServer) sendBearer(t *testing.T, token string) int {
	t.Helper()
	req := ingestRequest(s)
	req.Header.Del("X-API-KEY")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	return res.StatusCode
}

const allPermissions = "METER_DATA.INGEST METER_DATA.VIEW"

func TestTokens(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-issuer", "login", "-jwt-platform", "default")
	good := l.token(t, allPermissions)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, good))
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"changed token":           {strings.Replace(good, ".", ".A", 1), http.StatusUnauthorized},
		"token of another server": {startLogin(t).token(t, allPermissions), http.StatusUnauthorized},
		"other audience":          {l.token(t, allPermissions, "aud", "other"), http.StatusUnauthorized},
		"other issuer":            {l.token(t, allPermissions, "iss", "other"), http.StatusUnauthorized},
		"API key":                 {"secret", http.StatusUnauthorized},
		"missing permission":      {l.token(t, "METER_DATA.VIEW"), http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.status, s.sendBearer(t, c.token)) })
	}
	s.stop()
	<-s.done
	require.Equal(t, 0, s.status, s.log)
	require.NotContains(t, s.log.String()+s.out.String(), good[:40])
}

func TestTokenType(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default", "-jwt-type", "at+jwt")
	require.Equal(t, http.StatusUnauthorized, s.sendBearer(t, l.token(t, allPermissions)))
	l.typ = "at+jwt"
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, allPermissions)))
}

func TestTokensAndKeys(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platforms-claim", "tenant",
		"-jwt-permissions-claim", "roles", "-api-key", "given-key-1")
	require.Contains(t, s.curl, `"X-API-KEY: $CHARGEINGEST_API_KEY"`)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, "given-key-1"), "API key as a Bearer token")
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, "", "roles", allPermissions, "tenant", "acme")))
	require.Equal(t, http.StatusForbidden, s.sendBearer(t, l.token(t, allPermissions, "tenant", "acme")))
	require.Equal(t, http.StatusForbidden, s.sendBearer(t, l.token(t, "", "roles", allPermissions)), "a token without a platform")
	s.key = "given-key-1"
	require.Len(t, s.events(t), 1, "the event of the token is on another platform")
}

func TestGreetingWithTokens(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default")
	require.Empty(t, s.key)
	require.Contains(t, s.out.String(), "To send an event, export CHARGEINGEST_TOKEN and run:\ncurl ")
	require.Regexp(t, created, runCurl(t, s.curl, "CHARGEINGEST_TOKEN="+l.token(t, allPermissions)))
}

func TestReadyOnceTokenKeysAreFetched(t *testing.T) {
	l := startLogin(t)
	s := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-jwt-platform", "default")
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, allPermissions)), "the request waits for the first fetch")
	status, body := s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status, body)

	l.Close()
	status, body = s.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.Equal(t, http.StatusCreated, s.sendBearer(t, l.token(t, allPermissions)), "the server keeps the last keys")

	down := startServer(t, "-jwks-url", l.URL, "-jwt-audience", "charges", "-api-key", "k")
	status, body = down.send(t, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "the keys for tokens have not been fetched yet\n", body)
	require.Equal(t, http.StatusServiceUnavailable, down.sendBearer(t, l.token(t, allPermissions)))
	require.Contains(t, down.log.String(), `msg="JWKS fetch failed"`)
	require.Equal(t, http.StatusCreated, down.sendBearer(t, "k"), "API keys still work")
}

func TestTokenKeysAreFetchedDuringShutdown(t *testing.T) {
	requested, release := make(chan struct{}), make(chan struct{})
	l := startLogin(t)
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(requested)
		select {
		case <-release:
			l.Config.Handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	blocking := newBlockingStore()
	tp := newTestProgram()
	tp.openStore = blocking.open
	s := tp.start(t, "-jwks-url", slow.URL, "-jwt-audience", "charges", "-api-key", "given-key-1")
	s.key = "given-key-1"
	responded := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(ingestRequest(s))
		if err == nil {
			res.Body.Close()
		}
		responded <- err
	}()
	<-requested
	<-blocking.entered
	s.stop()
	require.True(t, s.log.waitFor("msg=stopping", s.done), s.log)
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fetched := s.log.waitFor(`msg="JWKS changed"`, ctx.Done())
	close(blocking.release)
	require.NoError(t, <-responded)
	<-s.done
	require.True(t, fetched, s.log)
}

func TestInsecureJWKSURLLeavesNoDatabase(t *testing.T) {
	t.Chdir(t.TempDir())
	tp := newTestProgram()
	require.Equal(t, 2, tp.run(context.Background(), []string{"-jwks-url", "http://login.example", "-jwt-audience", "a"}))
	require.NoFileExists(t, "charges.db")
}
